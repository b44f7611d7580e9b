//! Snapshots of disks.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use glass_launch::{KeepReport, KeepSpec, clone_file, thaw_left};
use glass_types::{SandboxId, SnapshotId};
use rustix::thread::CapabilitySet;

use super::disk::{self, Making};
use super::sandbox::{Record, SandboxDir};
use super::{NativeRuntime, launcher_done};
use crate::{RuntimeError, SnapshotStatus, Snapshots, blocking, step};

#[async_trait]
impl Snapshots for NativeRuntime {
    async fn take(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
    ) -> Result<SnapshotStatus, RuntimeError> {
        let _lock = self.locks.lock(sandbox).await;
        let dir = self.existing(sandbox)?;
        let target = self.disks.snapshot(snapshot);
        if !target.exists() {
            let failed = "take a snapshot";
            self.disks.check_space().map_err(|e| full(&target, e))?;
            let image = self.image_of(sandbox, &dir)?;
            let _launcher = launcher_done(&dir).await?;
            let making = Making::begin(&target).map_err(step(sandbox, failed))?;
            let making = match self.init(sandbox, &dir)? {
                Some(init) => {
                    let spec = KeepSpec {
                        dir: dir.path.clone(),
                        image: image.clone(),
                        target: making.path.clone(),
                        init: init.pid,
                    };
                    match self.run_keeper(&spec).await {
                        Ok(()) => Ok(making),
                        Err(error) => {
                            thaw_or_tell(&dir, &image);
                            // It may have ended meanwhile, which makes it only simpler.
                            if init.is_alive() {
                                Err(error)
                            } else {
                                self.clone_stopped(sandbox, &dir, &image, making).await
                            }
                        }
                    }
                }
                None => self.clone_stopped(sandbox, &dir, &image, making).await,
            }
            .map_err(step(sandbox, failed))?;
            blocking(move || making.finish())
                .await
                .map_err(step(sandbox, failed))?;
        }
        status(snapshot, &target)
    }

    async fn restore(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
    ) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(sandbox).await;
        let dir = self.existing(sandbox)?;
        let from = self.known(snapshot)?;
        let _launcher = launcher_done(&dir).await?;
        if self.init(sandbox, &dir)?.is_some() {
            return Err(RuntimeError::StillRunning(sandbox.clone()));
        }
        let old = self.image_of(sandbox, &dir)?;
        let record = dir
            .record()?
            .ok_or_else(|| RuntimeError::Unknown(sandbox.clone()))?;
        self.let_go(&dir, &record, &old)
            .await
            .map_err(step(sandbox, "wait for the disk"))?;
        let limit = std::fs::metadata(&old)
            .map_err(step(sandbox, "look at the disk"))?
            .len();
        fits(snapshot, &from, limit)?;
        // A disk from before the pool moves there.
        let pooled = self.disks.pooled();
        let new = self.place_of(sandbox, &dir, pooled);
        self.disks
            .copy(&from, &new, limit)
            .await
            .map_err(|e| full(&new, e))?;
        if record.pooled != pooled {
            dir.write_record(Record { pooled, ..record })?;
            std::fs::remove_file(&old).map_err(step(sandbox, "remove the old disk"))?;
        }
        Ok(())
    }

    async fn delete(&self, snapshot: &SnapshotId) -> Result<(), RuntimeError> {
        let path = self.disks.snapshot(snapshot);
        match tokio::fs::remove_file(&path).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RuntimeError::Io { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<SnapshotStatus>, RuntimeError> {
        let path = self.disks.snapshots();
        let error = |source| RuntimeError::Io {
            path: path.clone(),
            source,
        };
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(error)? {
            let file = entry.map_err(error)?.path();
            let id = file
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".img")?.parse().ok());
            let Some(id) = id else { continue };
            match status(&id, &file) {
                // It was deleted meanwhile.
                Err(RuntimeError::UnknownSnapshot(_)) => {}
                other => all.push(other?),
            }
        }
        Ok(all)
    }
}

impl NativeRuntime {
    /// Makes the disk of a new sandbox from a snapshot.
    pub(super) async fn fork(
        &self,
        snapshot: &SnapshotId,
        to: &Path,
        limit: u64,
    ) -> Result<(), RuntimeError> {
        let from = self.known(snapshot)?;
        let limit = limit.max(disk::LEAST);
        fits(snapshot, &from, limit)?;
        self.disks
            .begin_with(&from, to, limit)
            .await
            .map_err(|e| full(to, e))
    }

    fn known(&self, snapshot: &SnapshotId) -> Result<std::path::PathBuf, RuntimeError> {
        let path = self.disks.snapshot(snapshot);
        if path.exists() {
            Ok(path)
        } else {
            Err(RuntimeError::UnknownSnapshot(snapshot.clone()))
        }
    }

    /// The disk of a sandbox that has one.
    fn image_of(
        &self,
        sandbox: &SandboxId,
        dir: &SandboxDir,
    ) -> Result<std::path::PathBuf, RuntimeError> {
        match dir.record()? {
            Some(Record {
                image: true,
                pooled,
                ..
            }) => Ok(self.place_of(sandbox, dir, pooled)),
            Some(_) => Err(RuntimeError::Unsupported {
                what: format!("the disk of sandbox {sandbox}"),
                remedy: "its files are in a directory, of which no snapshot can be taken; run `glasshouse doctor`, and make it again"
                    .to_owned(),
            }),
            None => Err(RuntimeError::Unknown(sandbox.clone())),
        }
    }

    async fn clone_stopped(
        &self,
        sandbox: &SandboxId,
        dir: &SandboxDir,
        image: &Path,
        making: Making,
    ) -> io::Result<Making> {
        let record = dir.record().map_err(io::Error::other)?;
        if let Some(record) = record {
            self.let_go(dir, &record, image).await?;
        }
        tracing::debug!(sandbox.id = %sandbox, "snapshot without processes");
        let image = image.to_owned();
        blocking(move || {
            making.file.set_len(0)?;
            clone_file(&std::fs::File::open(image)?, &making.file)?;
            Ok(making)
        })
        .await
    }

    async fn run_keeper(&self, spec: &KeepSpec) -> io::Result<()> {
        match self.run_program(Some("keep"), spec).await? {
            KeepReport::Kept => Ok(()),
            KeepReport::Failed(reason) => Err(io::Error::other(reason)),
        }
    }
}

/// Thaws what a keeper that was killed left frozen.
pub(super) fn thaw_or_tell(dir: &SandboxDir, image: &Path) {
    if let Err(e) = thaw_left(&dir.path, image) {
        tracing::error!(sandbox.disk = %image.display(), error = %e, "its file system stays frozen");
    }
}

fn status(id: &SnapshotId, path: &Path) -> Result<SnapshotStatus, RuntimeError> {
    SnapshotStatus::of(id, path, disk::bytes_of(path))
}

/// A file system cannot be made smaller than it is, and larger only by a root that the host lets.
fn fits(id: &SnapshotId, path: &Path, limit: u64) -> Result<(), RuntimeError> {
    let needed = std::fs::metadata(path)
        .map_err(|source| RuntimeError::Io {
            path: path.to_owned(),
            source,
        })?
        .len();
    if needed == limit || needed < limit && may_grow() {
        return Ok(());
    }
    if needed < limit {
        return Err(RuntimeError::DiskCannotGrow {
            snapshot: id.clone(),
            size: needed,
            limit,
        });
    }
    Err(RuntimeError::DiskTooSmall {
        snapshot: id.clone(),
        needed,
        limit,
    })
}

fn may_grow() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_RESOURCE))
}

/// Keeps the kind of the error, by which a full disk is told from a broken one.
fn full(path: &Path, source: io::Error) -> RuntimeError {
    RuntimeError::Io {
        path: path.to_owned(),
        source,
    }
}
