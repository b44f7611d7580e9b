//! The files of one sandbox on the host.
//!
//! ```text
//! <state>/sandboxes/<id>/   0711
//!   sandbox.json   the range of user ids; written last, so a sandbox without it is half-made
//!   disk.img       a file system with upper work home state, owners unshifted; its size is the limit; where there is a
//!                  pool, it is <state>/pool/sandboxes/<id>.img instead
//!   disk/          0700  the same without a limit, where the host has no loop devices
//!   gateway/       0711  gateway.sock; what the sandbox sees at /run/glasshouse
//!   mnt/           0700  empty; where the launcher builds the tree in its own mount namespace
//!   guest.sock     the guest's socket; not visible in the sandbox
//!   guest.log      what the guest said on its standard streams in its present life
//!   init.json      which process its init is
//!   lock           held while it is launched or removed
//!   still          there while its file system may be frozen for a snapshot
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use glass_launch::{LOCK_FILE, LOG_FILE};
use glass_types::SandboxId;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{RuntimeError, state};

const IMAGE: &str = "disk.img";

/// What is remembered of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) uid_base: u32,
    /// Whether its files are in an image of a fixed size, and not in a directory.
    pub(super) image: bool,
    /// Whether that image is in the pool, and not beside this record.
    #[serde(default)]
    pub(super) pooled: bool,
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

    /// Makes what is missing of the directories, and the lock.
    pub(super) fn make(&self) -> Result<(), RuntimeError> {
        for (name, mode) in [
            ("", 0o711),
            ("disk", 0o700),
            ("gateway", 0o711),
            ("mnt", 0o700),
        ] {
            let path = if name.is_empty() {
                self.path.clone()
            } else {
                self.path.join(name)
            };
            match fs::DirBuilder::new().mode(mode).create(&path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(|e| self.error(name, e))?,
            }
        }
        self.lock().map(drop)
    }

    pub(super) fn image(&self) -> PathBuf {
        self.path.join(IMAGE)
    }

    /// Whether a launcher was ever at work here: the guest's log is made before all else that it makes, and stays.
    pub(super) fn was_launched(&self) -> bool {
        self.path.join(LOG_FILE).exists()
    }

    /// `None` when the sandbox is half-made.
    pub(super) fn record(&self) -> Result<Option<Record>, RuntimeError> {
        state::read_record(&self.path)
    }

    pub(super) fn write_record(&self, record: Record) -> Result<(), RuntimeError> {
        state::write_record(&self.path, &record)
    }

    pub(super) fn remove_record(&self) -> Result<(), RuntimeError> {
        match fs::remove_file(self.path.join(state::RECORD)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.error(state::RECORD, e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits until no launcher works on the sandbox, and keeps others from starting. `None` when it does not exist.
    pub(super) fn lock(&self) -> Result<Option<fs::File>, RuntimeError> {
        let opened = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join(LOCK_FILE));
        let file = match opened {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.error(LOCK_FILE, e)),
        };
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| self.error(LOCK_FILE, e.into()))?;
        Ok(Some(file))
    }

    pub(super) fn error(&self, name: &str, source: io::Error) -> RuntimeError {
        state::error(&self.path, name, source)
    }
}
