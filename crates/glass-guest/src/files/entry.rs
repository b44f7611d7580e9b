//! Entries as clients see them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::filesystem::{Entry, FileType};
use rustix::fs::{AtFlags, Dir, OFlags, Stat};

use super::calendar::Date;
use crate::fault;
use crate::identity::name_in;
use crate::paths::Place;

/// The longest list of entries that is made.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// The names of numbers, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

fn name(known: &mut HashMap<u32, String>, file: &str, number: u32) -> String {
    known
        .entry(number)
        .or_insert_with(|| name_in(file, number).unwrap_or_else(|| number.to_string()))
        .clone()
}

/// What is at a place.
pub(super) fn describe(place: &Place, stat: &Stat, names: &mut Names) -> Entry {
    let own = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let (kind, symlink_target) = if own == rustix::fs::FileType::Symlink {
        match place.resolved() {
            Some((target, stat)) => (
                kind(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
                Some(target.shown()),
            ),
            None => (
                FileType::Symlink,
                place.link().map(|text| text.to_string_lossy().into_owned()),
            ),
        }
    } else {
        (kind(own), None)
    };
    let name_of = |text: &OsStr| text.to_string_lossy().into_owned();
    Entry {
        name: name_of(
            place
                .absolute
                .file_name()
                .unwrap_or_else(|| OsStr::new("/")),
        ),
        kind,
        path: place.shown(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        permissions: permissions(own, stat.st_mode),
        owner: name(&mut names.users, "/etc/passwd", stat.st_uid),
        group: name(&mut names.groups, "/etc/group", stat.st_gid),
        modified_time: rfc3339(
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
        symlink_target,
    }
}

fn kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::RegularFile => FileType::File,
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        _ => FileType::Unspecified,
    }
}

fn permissions(kind: rustix::fs::FileType, mode: u32) -> String {
    let first = match kind {
        rustix::fs::FileType::Directory => 'd',
        rustix::fs::FileType::Symlink => 'l',
        rustix::fs::FileType::Fifo => 'p',
        rustix::fs::FileType::Socket => 's',
        rustix::fs::FileType::CharacterDevice => 'c',
        rustix::fs::FileType::BlockDevice => 'b',
        _ => '-',
    };
    let bits = (0..9).map(|bit| {
        if mode & (0o400 >> bit) == 0 {
            '-'
        } else {
            ['r', 'w', 'x'][bit % 3]
        }
    });
    std::iter::once(first).chain(bits).collect()
}

/// Seconds since 1970 as a date.
pub(super) fn rfc3339(seconds: i64, nanoseconds: u32) -> String {
    let Date {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = Date::of(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// The entries of a directory, `depth` levels deep. Links are listed, not followed.
pub(super) fn list(place: &Place, depth: u32) -> Result<Vec<Entry>, RpcError> {
    let mut names = Names::default();
    let mut entries = Vec::new();
    let mut open = vec![(place.clone(), depth.max(1), OFlags::empty())];
    while let Some((place, depth, extra)) = open.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | extra;
        let directory = match place.open(flags) {
            Ok(directory) => directory,
            Err(error) if entries.is_empty() && extra.is_empty() => {
                return Err(match error.raw_os_error() {
                    Some(libc::ENOTDIR) => {
                        fault::invalid(format!("{} is not a directory", place.shown()))
                    }
                    _ => place.fault(error),
                });
            }
            // One that vanished, or that may not be read, is no reason to hide the others.
            Err(_) => continue,
        };
        for item in Dir::read_from(&directory).map_err(|error| place.fault(error))? {
            let item = item.map_err(|error| place.fault(error))?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entries.len() == MAX_ENTRIES {
                return Err(fault::exhausted(format!(
                    "{} holds more than {MAX_ENTRIES} entries, list a part of it",
                    place.shown()
                )));
            }
            let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let below = place.join(OsStr::from_bytes(name.to_bytes()));
            entries.push(describe(&below, &stat, &mut names));
            let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode)
                == rustix::fs::FileType::Directory;
            if is_directory && depth > 1 {
                open.push((below, depth - 1, OFlags::NOFOLLOW));
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400, 5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(rfc3339(1_798_761_599, 0), "2026-12-31T23:59:59.000000000Z");
        assert_eq!(rfc3339(-1, 0), "1969-12-31T23:59:59.000000000Z");
    }

    #[test]
    fn permissions_are_written_as_ls_does() {
        let kind = rustix::fs::FileType::Directory;
        assert_eq!(permissions(kind, 0o750), "drwxr-x---");
    }
}
