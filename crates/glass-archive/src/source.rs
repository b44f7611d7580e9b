//! The second walk over a disk, as the library reads it: names and descriptors, nothing followed.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::{Node, NodeType};
use rustic_core::{
    ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult,
};
use rustix::fs::{Mode, OFlags};

use crate::disk::Root;
use crate::error::ArchiveError;
use crate::fault::Fault;
use crate::metadata::{self, Kind};
use crate::meter::Meter;
use crate::survey::{self, Entry, Survey, TOP};

#[derive(Debug)]
pub(crate) struct Source {
    root: Arc<OwnedFd>,
    survey: Arc<Survey>,
    meter: Meter,
    fault: Fault,
}

impl Source {
    pub(crate) fn new(root: &Root, survey: Survey, meter: Meter, fault: Fault) -> io::Result<Self> {
        Ok(Self {
            root: Arc::new(root.as_fd().try_clone_to_owned()?),
            survey: Arc::new(survey),
            meter,
            fault,
        })
    }
}

impl ReadSource for Source {
    type Open = Opener;
    type Iter = Walk;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(Some(self.survey.bytes))
    }

    fn entries(&self) -> Walk {
        Walk {
            root: Some(Arc::clone(&self.root)),
            survey: Arc::clone(&self.survey),
            meter: self.meter.clone(),
            fault: self.fault.clone(),
            open: Vec::new(),
        }
    }
}

/// A directory that is being walked.
#[derive(Debug)]
struct Level {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    left: std::vec::IntoIter<Entry>,
}

#[derive(Debug)]
pub(crate) struct Walk {
    /// Until it was given.
    root: Option<Arc<OwnedFd>>,
    survey: Arc<Survey>,
    meter: Meter,
    fault: Fault,
    open: Vec<Level>,
}

type Item = ReadSourceEntry<Opener>;

impl Iterator for Walk {
    type Item = RusticResult<Item>;

    fn next(&mut self) -> Option<RusticResult<Item>> {
        // What was noted ends the walk: the rest would be for nothing.
        let entry = match self.fault.check() {
            Ok(()) => self.advance(),
            Err(_) => return None,
        };
        match entry {
            Ok(entry) => entry.map(Ok),
            Err(error) => {
                self.fault.note(error);
                None
            }
        }
    }
}

impl Walk {
    fn advance(&mut self) -> Result<Option<Item>, ArchiveError> {
        if let Some(root) = self.root.take() {
            let stat = rustix::fs::fstat(&root).map_err(|error| ArchiveError::disk(TOP, error))?;
            let entry = Entry {
                name: c".".to_owned(),
                stat,
                kind: Kind::Directory,
            };
            return self.entry(&root, PathBuf::from(TOP), &entry).map(Some);
        }
        while let Some(level) = self.open.last_mut() {
            let Some(entry) = level.left.next() else {
                self.open.pop();
                continue;
            };
            let path = level.path.join(OsStr::from_bytes(entry.name.to_bytes()));
            let directory = Arc::clone(&level.directory);
            return self.entry(&directory, path, &entry).map(Some);
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        directory: &Arc<OwnedFd>,
        path: PathBuf,
        entry: &Entry,
    ) -> Result<Item, ArchiveError> {
        let failed = |path: &Path, reason: String| ArchiveError::disk(path.display(), reason);
        let link = self.survey.link(&entry.stat);
        let meta = metadata::read(
            directory.as_fd(),
            &entry.name,
            &entry.stat,
            entry.kind,
            link,
        )
        .map_err(|reason| failed(&path, reason))?;
        let kind = match entry.kind {
            Kind::Directory => {
                let child = survey::open_directory(directory.as_fd(), &entry.name)
                    .map_err(|error| failed(&path, error.to_string()))?;
                let left = survey::list(child.as_fd())
                    .map_err(|error| failed(&path, error.to_string()))?;
                self.open.push(Level {
                    directory: Arc::new(child),
                    path: path.clone(),
                    left: left.into_iter(),
                });
                NodeType::Dir
            }
            Kind::File => NodeType::File,
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(directory, &entry.name, Vec::new())
                    .map_err(|error| failed(&path, error.to_string()))?;
                NodeType::from_link(Path::new(OsStr::from_bytes(target.to_bytes())))
            }
            Kind::Fifo => NodeType::Fifo,
            Kind::Whiteout => NodeType::Chardev { device: 0 },
        };
        let name = path.file_name().unwrap_or_default();
        let node = Node::new_node(name, kind, meta);
        if node.name() != name {
            return Err(ArchiveError::Unfit {
                path: path.display().to_string(),
                reason: "its name cannot be written down".to_owned(),
            });
        }
        let open = (entry.kind == Kind::File).then(|| Opener {
            directory: Arc::clone(directory),
            name: entry.name.clone(),
            path: path.clone(),
            size: node.meta.size,
            meter: self.meter.clone(),
            fault: self.fault.clone(),
        });
        Ok(ReadSourceEntry { path, node, open })
    }
}

/// A file that will be read.
#[derive(Debug)]
pub(crate) struct Opener {
    directory: Arc<OwnedFd>,
    name: CString,
    path: PathBuf,
    size: u64,
    meter: Meter,
    fault: Fault,
}

impl ReadSourceOpen for Opener {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(file) => Ok(Reader {
                file: file.into(),
                left: self.size,
                path: self.path,
                meter: self.meter,
                fault: self.fault,
            }),
            Err(error) => {
                self.fault
                    .note(ArchiveError::disk(self.path.display(), error));
                Err(RusticError::with_source(
                    ErrorKind::InputOutput,
                    "a file cannot be opened",
                    io::Error::from(error),
                ))
            }
        }
    }
}

/// Reads a file that must be as long as it was.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    left: u64,
    path: PathBuf,
    meter: Meter,
    fault: Fault,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let changed = || io::Error::other("it changed while it was read");
        let result = match self.file.read(buffer) {
            Ok(0) if self.left > 0 && !buffer.is_empty() => Err(changed()),
            Ok(read) => self
                .left
                .checked_sub(read as u64)
                .ok_or_else(changed)
                .map(|left| {
                    self.left = left;
                    self.meter.add(read as u64);
                    read
                }),
            // Not ours to note: the caller tries again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => Err(error),
        };
        result.inspect_err(|error| {
            self.fault
                .note(ArchiveError::disk(self.path.display(), error))
        })
    }
}
