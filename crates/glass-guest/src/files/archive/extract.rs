//! Entries of an archive, whatever its format, into a directory that nobody else uses.
//!
//! Every part of a path is opened from the directory before it and must be a directory that was made here, so no entry
//! leads through a link; and a link's own target must stay inside, whatever other links there are.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use glass_guest_protocol::connect::RpcError;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::DEPTH;
use super::limits::{Limits, refused};
use crate::fault;

const NAME: usize = 255;
const PATH: usize = 4095;
const PART: usize = 128 << 10;

/// A directory that is being filled.
#[derive(Debug)]
pub(super) struct Extract {
    top: OwnedFd,
    pub(super) limits: Limits,
    /// The directory of the last entry: the next one is often in it, too.
    last: Option<(Vec<u8>, OwnedFd)>,
    part: Vec<u8>,
}

impl Extract {
    pub(super) fn new(top: OwnedFd, limits: Limits) -> Self {
        Self {
            top,
            limits,
            last: None,
            part: vec![0; PART],
        }
    }

    pub(super) fn directory(&mut self, path: &[u8]) -> Result<(), RpcError> {
        self.limits.entry(path, 0)?;
        let parts = parts(path)?;
        // `./` is the directory itself.
        self.parent(path, &parts).map(drop)
    }

    /// A file. Only the owner's bits of the mode that mean reading, writing and running are kept.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        size: u64,
        mode: u32,
        modified: Option<i64>,
        contents: &mut dyn Read,
    ) -> Result<(), RpcError> {
        self.limits.entry(path, size)?;
        let parts = parts(path)?;
        let (name, parents) = split(path, &parts)?;
        let directory = self.parent(path, parents)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| taken(path, error))?
            .into();
        let mut left = size;
        let mut part = std::mem::take(&mut self.part);
        let copied = loop {
            let read = match contents.read(&mut part) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(unreadable(path, &error)),
            };
            left = match left.checked_sub(read as u64) {
                Some(left) => left,
                None => {
                    break Err(refused(
                        path,
                        format!("it is longer than the {size} bytes that it says"),
                    ));
                }
            };
            if let Err(error) = self.limits.bytes_more(path, read as u64) {
                break Err(error);
            }
            if let Err(error) = file.write_all(&part[..read]) {
                break Err(failed(path, &error));
            }
        };
        self.part = part;
        copied?;
        if left > 0 {
            return Err(refused(
                path,
                format!("it is shorter than the {size} bytes that it says"),
            ));
        }
        let settle = || -> io::Result<()> {
            // Set-id bits are nobody's to bring along, and the owner can always read and change what was imported.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777 | 0o600))?;
            if let Some(seconds) = modified {
                let time = Timespec {
                    tv_sec: seconds,
                    tv_nsec: 0,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                // A time that the file system cannot hold is not worth a refusal.
                let _ = rustix::fs::futimens(&file, &times);
            }
            Ok(())
        };
        settle().map_err(|error| failed(path, &error))
    }

    pub(super) fn symlink(&mut self, path: &[u8], target: &[u8]) -> Result<(), RpcError> {
        self.limits.entry(path, 0)?;
        let parts = parts(path)?;
        let (name, parents) = split(path, &parts)?;
        if let Some(reason) = leads_out(target, parents.len()) {
            return Err(refused(
                path,
                format!("its link to {:?} {reason}", OsStr::from_bytes(target)),
            ));
        }
        let directory = self.parent(path, parents)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), directory, name)
            .map_err(|error| taken(path, error))
    }

    /// Another name of a file that came before.
    pub(super) fn hard_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), RpcError> {
        self.limits.entry(path, 0)?;
        let wrong = |reason: &str| {
            refused(
                path,
                format!("its link to {:?} {reason}", OsStr::from_bytes(target)),
            )
        };
        let to = parts(target).map_err(|_| wrong("leads out of the archive"))?;
        let (to_name, to_parents) = split(target, &to).map_err(|_| wrong("is to no file"))?;
        let mut from = self.reopen()?;
        for part in to_parents {
            from =
                open_directory(&from, part).map_err(|_| wrong("is to no file that came before"))?;
        }
        match rustix::fs::statat(&from, to_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) | Err(_) => return Err(wrong("is to no file that came before")),
        }
        let parts = parts(path)?;
        let (name, parents) = split(path, &parts)?;
        let directory = self.parent(path, parents)?;
        rustix::fs::linkat(&from, to_name, directory, name, AtFlags::empty())
            .map_err(|error| taken(path, error))
    }

    fn reopen(&self) -> Result<OwnedFd, RpcError> {
        open_directory(&self.top, OsStr::new(".")).map_err(|error| failed(b".", &error.into()))
    }

    /// The directory with these parts, made where it is missing.
    fn parent(&mut self, path: &[u8], parents: &[&OsStr]) -> Result<&OwnedFd, RpcError> {
        let key: Vec<u8> = parents
            .iter()
            .flat_map(|part| [part.as_bytes(), b"/"].concat())
            .collect();
        if self.last.as_ref().is_none_or(|(last, _)| *last != key) {
            let mut directory = self.reopen()?;
            for part in parents {
                directory = match open_directory(&directory, part) {
                    Err(Errno::NOENT) => {
                        rustix::fs::mkdirat(&directory, *part, Mode::from_raw_mode(0o755))
                            .map_err(|error| failed(path, &error.into()))?;
                        open_directory(&directory, part)
                    }
                    opened => opened,
                }
                .map_err(|error| match error {
                    Errno::NOTDIR | Errno::LOOP => {
                        refused(path, "it leads through a file or a link that came before")
                    }
                    error => failed(path, &error.into()),
                })?;
            }
            self.last = Some((key, directory));
        }
        match &self.last {
            Some((_, directory)) => Ok(directory),
            None => Err(fault::internal("a directory was not opened")),
        }
    }
}

fn open_directory(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The parts of a path of an archive, which is relative and does not climb.
fn parts(path: &[u8]) -> Result<Vec<&OsStr>, RpcError> {
    if path.first() == Some(&b'/') {
        return Err(refused(path, "its path is absolute"));
    }
    if path.contains(&0) {
        return Err(refused(path, "its path has a zero byte"));
    }
    if path.len() > PATH {
        return Err(refused(
            path,
            format!("its path is longer than {PATH} bytes"),
        ));
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(refused(path, "its path leads out of the archive")),
            part if part.len() > NAME => {
                return Err(refused(
                    path,
                    format!("a name in its path is longer than {NAME} bytes"),
                ));
            }
            part => parts.push(OsStr::from_bytes(part)),
        }
    }
    if parts.len() > DEPTH {
        return Err(refused(
            path,
            format!("it lies deeper than {DEPTH} directories"),
        ));
    }
    Ok(parts)
}

fn split<'a, 'b>(
    path: &[u8],
    parts: &'b [&'a OsStr],
) -> Result<(&'a OsStr, &'b [&'a OsStr]), RpcError> {
    match parts.split_last() {
        Some((name, parents)) => Ok((*name, parents)),
        None => Err(refused(path, "it has no name")),
    }
}

/// Why a link's target may lead out. From a directory `depth` levels deep so many `..` lead to the top; after a name
/// there may be none, because the name may be a link itself.
fn leads_out(target: &[u8], depth: usize) -> Option<&'static str> {
    if target.is_empty() || target.contains(&0) || target.len() > PATH {
        return Some("is no path");
    }
    if target.first() == Some(&b'/') {
        return Some("is absolute");
    }
    let parts = target
        .split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."));
    let mut climbed = 0;
    let mut named = false;
    for part in parts {
        if part != b".." {
            named = true;
            continue;
        }
        climbed += 1;
        if named {
            return Some("climbs after a name");
        }
        if climbed > depth {
            return Some("leads out of the archive");
        }
    }
    None
}

fn taken(path: &[u8], error: Errno) -> RpcError {
    match error {
        Errno::EXIST => refused(path, "it is in the archive twice"),
        error => failed(path, &error.into()),
    }
}

pub(super) fn failed(path: &[u8], error: &io::Error) -> RpcError {
    fault::io(&OsStr::from_bytes(path).display().to_string(), error)
}

/// The archive itself cannot be read on.
pub(super) fn unreadable(path: &[u8], error: &io::Error) -> RpcError {
    refused(path, format!("it cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_whatever_other_links_there_are() {
        for (target, depth) in [
            ("a", 0),
            ("a/b", 0),
            ("../a", 1),
            ("../../a/b", 2),
            ("./a/.", 0),
            ("..", 1),
        ] {
            assert_eq!(leads_out(target.as_bytes(), depth), None, "{target}");
        }
        for (target, depth) in [
            ("", 0),
            ("/etc/passwd", 3),
            ("..", 0),
            ("../..", 1),
            ("a/..", 5),
            ("a/../../x", 5),
            ("./../x", 0),
            ("a\0", 0),
        ] {
            assert!(leads_out(target.as_bytes(), depth).is_some(), "{target}");
        }
    }

    #[test]
    fn paths_that_climb_or_begin_at_the_root_are_refused() {
        for path in ["/a", "../a", "a/../../b", "a/..", "..", "a\0b"] {
            assert!(parts(path.as_bytes()).is_err(), "{path}");
        }
        assert!(parts(&[b'a'; 256]).is_err());
        assert!(parts("a/".repeat(2048).as_bytes()).is_err());
        assert!(parts("a/".repeat(501).as_bytes()).is_err());
        assert_eq!(parts(b"./a//b/.").unwrap(), ["a", "b"]);
        assert!(parts("a/..b/...".as_bytes()).is_ok());
    }
}
