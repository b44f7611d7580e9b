//! The first walk over a disk: what is there, and whether all of it can be kept.
//!
//! Nothing is written for a disk that cannot be kept whole: its files stay where they are, and the reason says why.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::ArchiveError;
use crate::metadata::Kind;

/// The name of the disk's root in the tree.
pub(crate) const TOP: &str = "files";
/// Each level is an open directory.
const DEPTH: usize = 500;
/// What the kernel takes as a path; a file beyond could not be named when it is restored.
const PATH: usize = 4095;
/// Holes count: they are read as zeros, and somebody can make a file of many terabytes in a moment.
const BYTES: u64 = 256 << 30;

#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Entries that are kept, the root among them.
    pub(crate) entries: u64,
    /// Bytes that are read: each name of a file counts.
    pub(crate) bytes: u64,
    /// Files with several names, by inode.
    links: HashMap<(u64, u64), Link>,
}

#[derive(Debug)]
struct Link {
    number: u64,
    names: u64,
}

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: CString,
    pub(crate) stat: Stat,
    pub(crate) kind: Kind,
}

impl Survey {
    /// Walks all of it, without opening a file.
    pub(crate) fn of(root: BorrowedFd<'_>) -> Result<Self, ArchiveError> {
        let mut survey = Self {
            entries: 1,
            ..Self::default()
        };
        survey.directory(root, &mut TOP.into(), DEPTH)?;
        Ok(survey)
    }

    /// The number of a file among those with several names, and how many it has here.
    pub(crate) fn link(&self, stat: &Stat) -> Option<(u64, u64)> {
        let link = self.links.get(&(stat.st_dev, stat.st_ino))?;
        (link.names > 1).then_some((link.number, link.names))
    }

    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        for entry in list(directory).map_err(|error| ArchiveError::disk(shown(path), error))? {
            let length = path.len();
            path.push(b'/');
            path.extend(entry.name.to_bytes());
            let unfit = |reason: String| ArchiveError::Unfit {
                path: shown(path),
                reason,
            };
            if path.len() > PATH {
                return Err(unfit(format!("its path is longer than {PATH} bytes")));
            }
            self.entries += 1;
            if entry.kind == Kind::File {
                self.bytes = self
                    .bytes
                    .saturating_add(u64::try_from(entry.stat.st_size).unwrap_or(u64::MAX));
                if self.bytes > BYTES {
                    return Err(unfit(format!(
                        "with it the files are longer than {} GiB, holes counted",
                        BYTES >> 30
                    )));
                }
                if entry.stat.st_nlink > 1 {
                    let number = self.links.len() as u64 + 1;
                    let link = self.links.entry((entry.stat.st_dev, entry.stat.st_ino));
                    link.or_insert(Link { number, names: 0 }).names += 1;
                }
            }
            if entry.kind == Kind::Directory {
                if depth == 0 {
                    return Err(unfit(format!("it lies deeper than {DEPTH} directories")));
                }
                let child = open_directory(directory, &entry.name)
                    .map_err(|error| ArchiveError::disk(shown(path), error))?;
                self.directory(child.as_fd(), path, depth - 1)?;
            }
            path.truncate(length);
        }
        Ok(())
    }
}

pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What is kept of a directory, sorted by the bytes of the names.
pub(crate) fn list(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name: CString = entry?.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Gone meanwhile; nothing writes to a disk of a sandbox without processes, so the count will tell.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        if let Some(kind) = Kind::of(&stat) {
            entries.push(Entry { name, stat, kind });
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
