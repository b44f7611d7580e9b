//! Snapshots of directories, by copying them.
//!
//! ```text
//! <state>/snapshots/<id>/   disk/home, disk/state, and what is known of it: owner, bytes
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use glass_launch::remove_tree;
use glass_types::{SandboxId, SnapshotId};
use rustix::fs::{CWD, RenameFlags};
use rustix::process::Signal;

use super::SimRuntime;
use super::copy::copy_tree;
use super::crowd::{self, Crowd};
use crate::{RuntimeError, SnapshotStatus, Snapshots, blocking, step};

/// What is being made has this ending; a snapshot's id has no dot.
const FRESH: &str = "new";

/// Removes what was being made when the last server ended.
pub(super) fn sweep(dir: &Path) -> Result<(), RuntimeError> {
    let work = || -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == FRESH) {
                remove_tree(&path)?;
            }
        }
        Ok(())
    };
    work().map_err(|source| RuntimeError::Io {
        path: dir.to_owned(),
        source,
    })
}

#[async_trait]
impl Snapshots for SimRuntime {
    async fn take(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
    ) -> Result<SnapshotStatus, RuntimeError> {
        let _lock = self.changing.lock().await;
        let dir = self.existing(sandbox)?;
        let target = self.snapshot_dir(snapshot);
        if target.exists() {
            return status(snapshot, &target);
        }
        let failed = || step(sandbox, "take a snapshot");
        // It stands still meanwhile, unless it does anyway.
        let runs = self
            .running(sandbox)
            .is_ok_and(|(_, init)| !crowd::is_stopped(init.pid));
        if runs {
            Crowd::new(sandbox).freeze().await.map_err(failed())?;
        }
        let (owner, place) = (sandbox.clone(), target.clone());
        let taken = blocking(move || take(&dir, &owner, &place)).await;
        if runs {
            Crowd::new(sandbox).signal(Signal::CONT);
        }
        taken.map_err(failed())?;
        status(snapshot, &target)
    }

    async fn restore(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
    ) -> Result<(), RuntimeError> {
        let _lock = self.changing.lock().await;
        let dir = self.existing(sandbox)?;
        let from = self.known(snapshot)?;
        if self.running(sandbox).is_ok() {
            return Err(RuntimeError::StillRunning(sandbox.clone()));
        }
        let owner = sandbox.clone();
        blocking(move || place(&from, &owner, &dir))
            .await
            .map_err(step(sandbox, "restore a snapshot"))
    }

    async fn delete(&self, snapshot: &SnapshotId) -> Result<(), RuntimeError> {
        let path = self.snapshot_dir(snapshot);
        let doomed = path.clone();
        let removed = blocking(move || {
            // Half a snapshot is none.
            let fresh = doomed.with_extension(FRESH);
            match fs::rename(&doomed, &fresh) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
            remove_tree(&fresh)
        });
        let removed = removed.await;
        removed.map_err(|source| RuntimeError::Io { path, source })
    }

    async fn list(&self) -> Result<Vec<SnapshotStatus>, RuntimeError> {
        let path = self.state_dir.join("snapshots");
        let error = |source| RuntimeError::Io {
            path: path.clone(),
            source,
        };
        let mut all = Vec::new();
        for entry in fs::read_dir(&path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
                match status(&id, &entry.path()) {
                    // It was deleted meanwhile.
                    Err(RuntimeError::UnknownSnapshot(_)) => {}
                    other => all.push(other?),
                }
            }
        }
        Ok(all)
    }
}

impl SimRuntime {
    /// Makes the files of a new sandbox.
    pub(super) async fn fork(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
        dir: &Path,
    ) -> Result<(), RuntimeError> {
        let _lock = self.changing.lock().await;
        let from = self.known(snapshot)?;
        let (owner, dir) = (sandbox.clone(), dir.to_owned());
        blocking(move || fs::create_dir_all(&dir).and_then(|()| place(&from, &owner, &dir)))
            .await
            .map_err(step(sandbox, "begin with a snapshot"))
    }

    fn snapshot_dir(&self, snapshot: &SnapshotId) -> PathBuf {
        self.state_dir.join("snapshots").join(snapshot.as_str())
    }

    fn known(&self, snapshot: &SnapshotId) -> Result<PathBuf, RuntimeError> {
        let path = self.snapshot_dir(snapshot);
        if path.is_dir() {
            Ok(path)
        } else {
            Err(RuntimeError::UnknownSnapshot(snapshot.clone()))
        }
    }
}

fn take(dir: &Path, sandbox: &SandboxId, target: &Path) -> io::Result<()> {
    let fresh = target.with_extension(FRESH);
    remove_tree(&fresh)?;
    fs::create_dir(&fresh)?;
    let made = copy_tree(&dir.join("disk"), &fresh.join("disk")).and_then(|bytes| {
        fs::write(fresh.join("owner"), sandbox.as_str())?;
        fs::write(fresh.join("bytes"), bytes.to_string())?;
        sync(&fresh)?;
        fs::rename(&fresh, target)?;
        sync(target.parent().unwrap_or(target))
    });
    if made.is_err() {
        remove_tree(&fresh)?;
    }
    made
}

/// Puts the files of a snapshot in the place of those of a sandbox, if it has any.
fn place(from: &Path, sandbox: &SandboxId, dir: &Path) -> io::Result<()> {
    let (disk, fresh) = (dir.join("disk"), dir.join("disk.new"));
    remove_tree(&fresh)?;
    copy_tree(&from.join("disk"), &fresh)?;
    // What a guest keeps for itself is not for another sandbox.
    if fs::read(from.join("owner"))? != sandbox.as_str().as_bytes() {
        remove_tree(&fresh.join("state"))?;
        fs::create_dir(fresh.join("state"))?;
    }
    sync(&fresh)?;
    if disk.exists() {
        // At no time is there none.
        rustix::fs::renameat_with(CWD, &fresh, CWD, &disk, RenameFlags::EXCHANGE)?;
        remove_tree(&fresh)?;
    } else {
        fs::rename(&fresh, &disk)?;
    }
    sync(dir)
}

/// Has all of the file system on the host's disk.
fn sync(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

fn status(id: &SnapshotId, path: &Path) -> Result<SnapshotStatus, RuntimeError> {
    let bytes = fs::read_to_string(path.join("bytes"))
        .and_then(|text| text.parse().map_err(io::Error::other));
    SnapshotStatus::of(id, path, bytes)
}
