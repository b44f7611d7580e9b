//! What was unpacked aside, moved into its place.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::DEPTH;
use crate::paths;

/// Moves all entries of one directory into another. Directories that both have become one; any other entry takes the
/// place of what was there.
pub(super) fn merge(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    level(from, to, DEPTH)
}

fn level(from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(from)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    for name in names {
        match (kind(from, &name)?, kind(to, &name)?) {
            (Some(FileType::Directory), Some(FileType::Directory)) if depth > 0 => {
                level(&open(from, &name)?, &open(to, &name)?, depth - 1)?;
                rustix::fs::unlinkat(from, &name, AtFlags::REMOVEDIR)?;
            }
            (Some(FileType::Directory), Some(_)) | (Some(_), Some(FileType::Directory)) => {
                // The kernel exchanges a file for a file and nothing else.
                paths::remove(to, OsStr::from_bytes(name.to_bytes()))?;
                rustix::fs::renameat(from, &name, to, &name)?;
            }
            _ => rustix::fs::renameat(from, &name, to, &name)?,
        }
    }
    Ok(())
}

fn kind(directory: &OwnedFd, name: &CStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open(directory: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}
