//! The files of one sandbox on the host.
//!
//! ```text
//! <state>/sandboxes/<id>/   0700
//!   sandbox.json   written last, so a sandbox without it is half-made
//!   disk/home      what the sandbox sees at /home/dev
//!   disk/state     0700  what the guest keeps
//!   guest/         0700  guest.sock; its owner is the sandbox's root, who makes the socket
//!   gateway/       0711  gateway.sock; what the sandbox sees at /run/glasshouse
//! ```
//!
//! All of it is bound into the container and none of it is Docker's, so no `docker rm`, `prune` or reinstallation takes
//! files of a user with it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use glass_guest_protocol::DEV_UID;
use glass_launch::SOCKET_FILE;
use glass_types::SandboxId;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use serde::{Deserialize, Serialize};

use crate::{RuntimeError, state};

/// Deeper trees than this are no home of a sensible image.
const DEPTH: usize = 64;

/// What is remembered of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Name of the Docker image that it was made from.
    pub(super) image: String,
}

/// The directory of one sandbox.
#[derive(Debug, Clone)]
pub(super) struct SandboxDir {
    pub(super) path: PathBuf,
}

impl SandboxDir {
    pub(super) fn new(state_dir: &Path, id: &SandboxId) -> Self {
        Self {
            path: state::dir_of(state_dir, id),
        }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    pub(super) fn disk(&self) -> PathBuf {
        self.path.join("disk")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.path.join("disk/home")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("disk/state")
    }

    pub(super) fn guest(&self) -> PathBuf {
        self.path.join("guest")
    }

    pub(super) fn gateway(&self) -> PathBuf {
        self.path.join("gateway")
    }

    /// Makes the directories. `root` is the host's id of the sandbox's root.
    pub(super) fn make(&self, root: u32) -> Result<(), RuntimeError> {
        for (name, mode, owner) in [
            ("", 0o700, 0),
            ("disk", 0o700, 0),
            ("disk/home", 0o755, root),
            ("disk/state", 0o700, root),
            ("guest", 0o700, root),
            ("gateway", 0o711, 0),
        ] {
            let path = self.path.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .and_then(|()| chown(&path, Some(owner), Some(owner)))
                .map_err(|e| self.error(name, e))?;
        }
        Ok(())
    }

    /// `None` when the sandbox is half-made.
    pub(super) fn record(&self) -> Result<Option<Record>, RuntimeError> {
        state::read_record(&self.path)
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<(), RuntimeError> {
        state::write_record(&self.path, record)
    }

    /// Removes the guest's last socket, so that the one that appears is the next guest's.
    pub(super) fn remove_socket(&self) -> Result<(), RuntimeError> {
        match fs::remove_file(self.guest().join(SOCKET_FILE)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.error(SOCKET_FILE, e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes everything in a home that Docker has just copied from the image the user's own, without set-user-id bits.
    /// No process of the sandbox has run yet.
    pub(super) fn own_home(&self, root: u32) -> io::Result<()> {
        let home = open_directory(CWD, self.home().as_path())?;
        let owner = root + DEV_UID;
        rustix::fs::fchown(
            &home,
            Some(Uid::from_raw(owner)),
            Some(Gid::from_raw(owner)),
        )?;
        own(home.as_fd(), owner, DEPTH)
    }

    pub(super) fn error(&self, name: &str, source: io::Error) -> RuntimeError {
        state::error(&self.path, name, source)
    }
}

fn open_directory<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn own(directory: BorrowedFd<'_>, owner: u32, depth: usize) -> io::Result<()> {
    if depth == 0 {
        let text = format!("the image's /home/dev is deeper than {DEPTH} directories");
        return Err(io::Error::other(text));
    }
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        let name = entry?.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory | FileType::RegularFile | FileType::Symlink => {}
            // Nothing else belongs into a home.
            _ => {
                rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
                continue;
            }
        }
        rustix::fs::chownat(
            directory,
            &name,
            Some(Uid::from_raw(owner)),
            Some(Gid::from_raw(owner)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        if kind == FileType::RegularFile {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
            rustix::fs::chmodat(directory, &name, mode, AtFlags::empty())?;
        } else if kind == FileType::Directory {
            // Writable for its owner, or the user could not even remove it.
            let mode = Mode::from_raw_mode(stat.st_mode & 0o777 | 0o700);
            let child = open_directory(directory, &name)?;
            rustix::fs::fchmod(&child, mode)?;
            own(child.as_fd(), owner, depth - 1)?;
        }
    }
    Ok(())
}
