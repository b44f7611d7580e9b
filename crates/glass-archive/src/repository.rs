//! The repository: opened with the key of this server, made when there is none.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustic_core::repofile::{FileType, MasterKey, SnapshotFile, SnapshotId};
use rustic_core::{
    ConfigOptions, Credentials, Id, IndexedFullStatus, IndexedIdsStatus, KeyOptions, Open,
    OpenStatus, ReadBackend, Repository, RepositoryBackends, RepositoryOptions, RusticError,
    RusticResult,
};

use crate::backend::Backend;
use crate::error::ArchiveError;
use crate::fault::Fault;
use crate::location::Location;
use crate::message::ArchiveRef;

/// An open repository and what was noted about it. `S` says how much of its index is in memory.
pub(crate) struct Opened<S = OpenStatus> {
    pub(crate) repository: Repository<S>,
    pub(crate) fault: Fault,
    /// How it is called in messages.
    pub(crate) name: String,
}

/// Whether one that does not exist is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Make,
    Leave,
}

/// With the whole index: all can be read.
pub(crate) type Indexed = Opened<IndexedFullStatus>;

impl Opened {
    /// Opens the repository. `None` when there is none and it is not to be made.
    pub(crate) fn open(
        location: &Location,
        key: &Path,
        missing: IfMissing,
    ) -> Result<Option<Self>, ArchiveError> {
        let name = location.name.clone();
        let fault = Fault::default();
        let backend = Backend::new(location.clone(), fault.clone())
            .map_err(|e| ArchiveError::Worker(e.to_string()))?;
        let exists = backend
            .list(FileType::Config)
            .map_err(|error| told(&fault, &name, &error))?;
        let credentials = |master| Credentials::Masterkey(master);
        let options = {
            let mut options = RepositoryOptions::default();
            options.no_cache = true;
            options
        };
        let backends = RepositoryBackends::new(Arc::new(backend), None);
        let repository =
            Repository::new(&options, &backends).map_err(|error| told(&fault, &name, &error))?;
        let repository = if exists.is_empty() {
            if missing == IfMissing::Leave {
                return Ok(None);
            }
            let master = match read_key(key)? {
                Some(master) => master,
                None => make_key(key)?,
            };
            repository.init(&credentials(master), &KeyOptions::default(), &config())
        } else {
            let other = || ArchiveError::Key {
                location: name.clone(),
                key: key.display().to_string(),
            };
            let master = read_key(key)?.ok_or_else(other)?;
            let opened = repository.open(&credentials(master));
            // The first thing that is read is the configuration, which only the right key opens.
            return match opened {
                Ok(repository) => Ok(Some(Self {
                    repository,
                    fault,
                    name,
                })),
                Err(_) => Err(fault.check().err().unwrap_or_else(other)),
            };
        };
        let repository = repository.map_err(|error| told(&fault, &name, &error))?;
        Ok(Some(Self {
            repository,
            fault,
            name,
        }))
    }

    /// Reads the index as far as storing needs it: which contents are there.
    pub(crate) fn with_ids(self) -> Result<Opened<IndexedIdsStatus>, ArchiveError> {
        self.read(Repository::to_indexed_ids)
    }

    /// Reads the index.
    pub(crate) fn with_index(self) -> Result<Indexed, ArchiveError> {
        self.read(Repository::to_indexed)
    }

    fn read<S>(
        self,
        index: impl FnOnce(Repository<OpenStatus>) -> RusticResult<Repository<S>>,
    ) -> Result<Opened<S>, ArchiveError> {
        let Self {
            repository,
            fault,
            name,
        } = self;
        match index(repository) {
            Ok(repository) => Ok(Opened {
                repository,
                fault,
                name,
            }),
            Err(error) => Err(told(&fault, &name, &error)),
        }
    }
}

impl<S: Open> Opened<S> {
    /// What the library said, or what was noted before it said so.
    pub(crate) fn told(&self, error: &RusticError) -> ArchiveError {
        told(&self.fault, &self.name, error)
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged {
            location: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// The record of an archive.
    pub(crate) fn snapshot(&self, archive: &ArchiveRef) -> Result<SnapshotFile, ArchiveError> {
        let ids = self
            .repository
            .list::<SnapshotId>()
            .map_err(|error| self.told(&error))?;
        let wanted = snapshot_id(archive)?;
        if !ids.into_iter().any(|id| id == wanted) {
            return Err(self.missing(archive));
        }
        let mut found = self
            .repository
            .get_snapshots(&[archive.to_string()])
            .map_err(|error| self.told(&error))?;
        found.pop().ok_or_else(|| self.missing(archive))
    }

    pub(crate) fn missing(&self, archive: &ArchiveRef) -> ArchiveError {
        ArchiveError::Missing {
            location: self.name.clone(),
            archive: archive.to_string(),
        }
    }
}

pub(crate) fn snapshot_id(archive: &ArchiveRef) -> Result<SnapshotId, ArchiveError> {
    let id = archive.to_string().parse::<Id>();
    id.map(SnapshotId::from)
        .map_err(|error| ArchiveError::Worker(error.display_log()))
}

fn told(fault: &Fault, name: &str, error: &RusticError) -> ArchiveError {
    fault
        .check()
        .err()
        .unwrap_or_else(|| ArchiveError::Damaged {
            location: name.to_owned(),
            reason: error.display_log(),
        })
}

/// Packs are small enough that a few fit into memory, and large enough that a store is asked seldom.
fn config() -> ConfigOptions {
    let mut config = ConfigOptions::default();
    config.set_datapack_size = "16MiB".parse().ok();
    config.set_datapack_growfactor = Some(0);
    config.set_treepack_size = "4MiB".parse().ok();
    config.set_treepack_growfactor = Some(0);
    config
}

fn read_key(path: &Path) -> Result<Option<MasterKey>, ArchiveError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ArchiveError::disk(path.display(), error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        // The parser's words could quote the key.
        .map_err(|_| {
            ArchiveError::disk(
                path.display(),
                "is not a key of an archive; restore it from a backup",
            )
        })
}

/// Makes the key, once: it is on stable storage before anything is encrypted with it, and a second maker takes the
/// first one's.
fn make_key(path: &Path) -> Result<MasterKey, ArchiveError> {
    let failed = |error: io::Error| ArchiveError::disk(path.display(), error);
    let text = serde_json::to_vec(&MasterKey::new())
        .map_err(io::Error::from)
        .map_err(failed)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let fresh = path.with_extension(format!("key.{}.new", std::process::id()));
    let made = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        match fs::hard_link(&fresh, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        fs::remove_file(&fresh)?;
        fs::File::open(directory)?.sync_all()
    })();
    made.map_err(failed)?;
    read_key(path)?.ok_or_else(|| ArchiveError::disk(path.display(), "is gone again"))
}
