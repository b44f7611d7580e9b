//! Unpacks a layer's archive into a directory that overlayfs can use as a lower one.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use tar::EntryType;

use crate::archive::entries::{Entries, Entry};
use crate::archive::tree::{self, Existing, Tree, components};
use crate::archive::{ArchiveError, Limits};
use crate::cancel::Cancel;
use crate::error::{ImageError, IoContext};
use crate::pack::CAPABILITY;

/// Unpacks `archive` into `dir`, which is made. Takes what it uses from `left`.
pub(crate) fn unpack(
    archive: impl Read,
    dir: &Path,
    left: &mut Limits,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    std::fs::create_dir(dir).at(dir)?;
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).at(dir)?;
    let mut unpacking = Unpacking {
        tree: Tree::open(dir).at(dir)?,
        directories: Vec::new(),
    };
    let mut entries = Entries::new(archive, *left);
    while let Some(entry) = entries.next()? {
        if cancel.is_cancelled() {
            return Err(ImageError::Cancelled);
        }
        left.entries = left.entries.saturating_sub(1);
        left.bytes = left
            .bytes
            .checked_sub(entry.size)
            .ok_or_else(|| ArchiveError::TooLarge {
                entry: crate::archive::shown(&entry.path),
                limit: left.bytes,
                unit: "bytes",
            })?;
        unpacking
            .entry(&entry, &mut entries)
            .map_err(|error| full(dir, error))?;
    }
    unpacking.finish().map_err(|error| full(dir, error))?;
    Ok(entries.drain()?)
}

/// A full disk is no fault of the archive.
fn full(dir: &Path, error: ArchiveError) -> ImageError {
    match error {
        ArchiveError::Unpack { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            ImageError::io(dir, source)
        }
        error => error.into(),
    }
}

struct Unpacking {
    tree: Tree,
    /// Times of directories, set at the end because making a file in one changes its time.
    directories: Vec<(Vec<u8>, i64)>,
}

impl Unpacking {
    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        entries: &mut Entries<R>,
    ) -> Result<(), ArchiveError> {
        let path = &entry.path;
        let parts = components(path).map_err(|reason| ArchiveError::entry(path, reason))?;
        let failed = |errno: Errno| ArchiveError::unpack(path, errno);
        check_attributes(entry)?;
        let Some((&name, above)) = parts.split_last() else {
            if entry.kind.is_dir() {
                let root = self.tree.dir(&[]).map_err(failed)?;
                return directory(entry, &root, b".");
            }
            return Err(ArchiveError::entry(path, "it has no name"));
        };
        if matches!(entry.kind, EntryType::Char | EntryType::Block) {
            // Sandboxes have a /dev of their own, so what a system put there is not missed.
            if above.first() == Some(&&b"dev"[..]) {
                return Ok(());
            }
            return Err(ArchiveError::entry(
                path,
                "it is a device, and images may have none outside of /dev",
            ));
        }
        let parent = self.tree.parent(path, above)?;
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return hide(&parent, hidden).map_err(|reason| match reason {
                Ok(errno) => failed(errno),
                Err(reason) => ArchiveError::entry(path, reason),
            });
        }
        let replaces_whiteout = match tree::existing(&parent, name) {
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(failed(errno)),
            Ok(Existing::Directory) if entry.kind.is_dir() => false,
            Ok(Existing::Whiteout) => {
                rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(failed)?;
                true
            }
            Ok(Existing::Directory | Existing::Other) => {
                return Err(ArchiveError::entry(path, "the archive has it twice"));
            }
        };
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => file(entry, &parent, name, entries),
            EntryType::Directory => {
                match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                directory(entry, &parent, name)?;
                if replaces_whiteout {
                    tree::make_opaque(&parent, name).map_err(failed)?;
                }
                self.directories.push((parts.join(&b'/'), entry.mtime));
                Ok(())
            }
            EntryType::Symlink => {
                if entry.link.is_empty() || entry.link.contains(&0) {
                    return Err(ArchiveError::entry(path, "it is a link to nothing"));
                }
                rustix::fs::symlinkat(entry.link.as_slice(), &parent, name)
                    .and_then(|()| own_and_date(entry, &parent, name))
                    .map_err(failed)
            }
            EntryType::Link => self.hard_link(entry, &parent, name),
            EntryType::Fifo => rustix::fs::mknodat(&parent, name, FileType::Fifo, Mode::RUSR, 0)
                .and_then(|()| own_and_date(entry, &parent, name))
                .and_then(|()| {
                    rustix::fs::chmodat(
                        &parent,
                        name,
                        Mode::from_raw_mode(entry.mode),
                        AtFlags::empty(),
                    )
                })
                .map_err(failed),
            _ => Err(ArchiveError::entry(
                path,
                "it is of a kind that is not supported",
            )),
        }
    }

    fn hard_link(&self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<(), ArchiveError> {
        let refused = |reason| ArchiveError::entry(&entry.path, reason);
        let target = components(&entry.link)
            .map_err(|_| refused("it is a hard link that leads out of the image"))?;
        let Some((target_name, above)) = target.split_last() else {
            return Err(refused("it is a hard link to nothing"));
        };
        let target_dir = match self.tree.dir(above) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                return Err(refused(
                    "it is a hard link to a file that the archive does not have",
                ));
            }
            result => result.map_err(|errno| ArchiveError::unpack(&entry.path, errno))?,
        };
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is a second name of that link.
        match rustix::fs::linkat(&target_dir, *target_name, parent, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Err(refused(
                "it is a hard link to a file that the archive does not have",
            )),
            Err(Errno::PERM) => Err(refused("it is a hard link to a directory")),
            result => result.map_err(|errno| ArchiveError::unpack(&entry.path, errno)),
        }
    }

    fn finish(self) -> Result<(), ArchiveError> {
        for (path, mtime) in self.directories {
            let parts: Vec<_> = path.split(|b| *b == b'/').collect();
            self.tree
                .dir(&parts)
                .and_then(|dir| {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    let dir = rustix::fs::openat(&dir, ".", flags, Mode::empty())?;
                    rustix::fs::futimens(&dir, &times(mtime))
                })
                .map_err(|errno| ArchiveError::unpack(&path, errno))?;
        }
        Ok(())
    }
}

fn directory(entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<(), ArchiveError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(|errno| ArchiveError::unpack(&entry.path, errno))?;
    finish_open(entry, &dir).map_err(|errno| ArchiveError::unpack(&entry.path, errno))
}

fn file<R: Read>(
    entry: &Entry,
    parent: &OwnedFd,
    name: &[u8],
    entries: &mut Entries<R>,
) -> Result<(), ArchiveError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| ArchiveError::unpack(&entry.path, errno))?;
    let mut made = std::fs::File::from(made);
    io::copy(&mut entries.data(), &mut made).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ArchiveError::unpack(&entry.path, error)
        }
        _ => ArchiveError::Unreadable(error),
    })?;
    finish_open(entry, &made).map_err(|errno| ArchiveError::unpack(&entry.path, errno))
}

/// Gives an open file or directory its owner, mode, attributes and time, in this order: a new owner takes the set-uid
/// bit and capabilities away.
fn finish_open(entry: &Entry, made: impl AsFd) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::fchown(&made, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(entry.mode))?;
    for (name, value) in &entry.attributes {
        if name == CAPABILITY || name.starts_with("user.") {
            rustix::fs::fsetxattr(&made, name.as_str(), value, XattrFlags::empty())?;
        }
    }
    rustix::fs::futimens(&made, &times(entry.mtime))
}

fn own_and_date(entry: &Entry, parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Attributes that steer the host's overlayfs have no business in an archive.
fn check_attributes(entry: &Entry) -> Result<(), ArchiveError> {
    let overlay =
        |name: &str| name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
    if entry.attributes.iter().any(|(name, _)| overlay(name)) {
        return Err(ArchiveError::entry(
            &entry.path,
            "it has attributes of overlayfs",
        ));
    }
    Ok(())
}

/// Does what an entry `.wh.<hidden>` asks for.
fn hide(parent: &OwnedFd, hidden: &[u8]) -> Result<(), Result<Errno, &'static str>> {
    match hidden {
        b".wh..opq" => tree::make_opaque(parent, b".").map_err(Ok),
        // Bookkeeping of aufs, which nobody needs.
        aufs if aufs.starts_with(b".wh.") => Ok(()),
        b"" | b"." | b".." => Err(Err("it hides nothing that can exist")),
        name => match tree::existing(parent, name) {
            Err(Errno::NOENT) => tree::whiteout(parent, name).map_err(Ok),
            Err(errno) => Err(Ok(errno)),
            // The layer has it anew: only what lower layers have there is hidden.
            Ok(Existing::Directory) => tree::make_opaque(parent, name).map_err(Ok),
            Ok(Existing::Whiteout | Existing::Other) => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests;
