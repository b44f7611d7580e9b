//! The file that is there while a file system may be frozen, and whose lock says that somebody will thaw it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Holds the file; nobody else does meanwhile.
#[derive(Debug)]
pub(super) struct Marker {
    path: PathBuf,
    /// Its lock ends with it, however its process ends.
    file: File,
}

impl Marker {
    /// Makes it, or takes that of one who was killed. Waits for one who lives.
    pub(super) fn make(mut path: PathBuf) -> io::Result<Self> {
        loop {
            let file = File::create(&path)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
            let marker = Self { path, file };
            if marker.is_there()? {
                return Ok(marker);
            }
            // It was removed by who had it before.
            path = marker.path;
        }
    }

    /// Takes the one that was left. None when there is none, or somebody has it who will thaw.
    pub(super) fn left(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let path = path.to_owned();
        let marker = Self { path, file };
        Ok(marker.is_there()?.then_some(marker))
    }

    /// Whether the file that is held is the one at the path.
    fn is_there(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes it, before the next may have it.
    pub(super) fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_held_is_left_alone_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("still");
        assert!(Marker::left(&path).unwrap().is_none());
        let first = Marker::make(path.clone()).unwrap();
        assert!(Marker::left(&path).unwrap().is_none());
        let other = path.clone();
        let second = std::thread::spawn(move || Marker::make(other).unwrap());
        // Until the kernel says that the other waits, so that it waits for a file that is removed.
        let inode = first.file.metadata().unwrap().ino().to_string();
        let waits = |line: &str| line.contains("->") && line.contains(&inode);
        while !fs::read_to_string("/proc/locks")
            .unwrap()
            .lines()
            .any(waits)
        {
            std::thread::yield_now();
        }
        first.remove().unwrap();
        let second = second.join().unwrap();
        assert!(path.exists(), "the second made its own");
        assert!(Marker::left(&path).unwrap().is_none());
        // As when its process is killed.
        drop(second);
        let left = Marker::left(&path).unwrap().unwrap();
        left.remove().unwrap();
        assert!(!path.exists());
    }
}
