//! Snapshots of sandboxes: taking, putting back, beginning others with them, removing.
//!
//! The row is written before the files are kept and changed before they go, so a server killed in between finds what to
//! finish. A snapshot outlives its sandbox.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, CreateParams, ForkParams, Problem, SnapshotParams};
use glass_runtime::{RuntimeError, Snapshots};
use glass_store::{ArchiveChange, SandboxRow, Shift, SnapshotRow, SnapshotState, TemplateRow};
use glass_types::{SandboxId, SandboxState, SnapshotId, Transition};
use serde_json::json;

use super::driver::Down;
use super::move_of;
use super::rest::{FAREWELL, event};
use super::{GRACE, Sandboxes};
use crate::app::validate;
use crate::clock;
use crate::error::ApiError;
use crate::metrics::Operation;

/// How long the snapshot of a fork is kept when the server is killed in the middle.
const FORK_LASTS: Duration = Duration::from_secs(60 * 60);
/// Milliseconds of a hundred years: longer is a mistake.
const LONGEST: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

impl Sandboxes {
    /// The ability to make snapshots, or why there is none.
    pub(super) fn snapshots(&self) -> Result<&dyn Snapshots, ApiError> {
        self.runtime.snapshots().ok_or_else(|| {
            let problem = Problem::new(
                Code::HostUnsupported,
                format!(
                    "the {} runtime cannot make snapshots here",
                    self.runtime.name()
                ),
            );
            problem
                .with_remedy("`glasshouse doctor` says what this machine lacks")
                .into()
        })
    }

    /// Keeps the files of a sandbox as they are now, and answers when they are on disk.
    pub(crate) async fn take_snapshot(
        self: &Arc<Self>,
        id: &SandboxId,
        params: SnapshotParams,
    ) -> Result<SnapshotRow, ApiError> {
        validate::words(params.name.as_deref(), params.description.as_deref())?;
        if let Some(ms) = params
            .expires_in_ms
            .filter(|ms| !(1..=LONGEST).contains(ms))
        {
            return Err(Problem::field("expires_in_ms", ms, format!("give 1 to {LONGEST}")).into());
        }
        self.snapshots()?;
        let id = id.clone();
        self.detached(|this| async move {
            let (_, _turn) = this.turn(&id).await?;
            let sandbox = this.get(&id).await?;
            this.keep(&sandbox, params).await
        })
        .await
    }

    /// Keeps the files of a sandbox, in our turn.
    async fn keep(
        &self,
        sandbox: &SandboxRow,
        params: SnapshotParams,
    ) -> Result<SnapshotRow, ApiError> {
        let has_files = match sandbox.state {
            SandboxState::Running | SandboxState::Frozen => true,
            // One whose fetch failed has them in the archive.
            SandboxState::Stopped | SandboxState::Failed => sandbox.archive.is_none(),
            SandboxState::Creating | SandboxState::Archived | SandboxState::Destroying => false,
        };
        if !has_files {
            let detail = format!(
                "sandbox {} is {}: its files are not here",
                sandbox.id, sandbox.state
            );
            let problem = Problem::new(Code::StateConflict, detail);
            return Err(problem
                .with_remedy(format!("start it with `glasshouse start {}`", sandbox.id))
                .into());
        }
        let now = clock::now();
        let expires_at = params
            .expires_in_ms
            .map(|ms| now.saturating_add_unsigned(ms));
        let row = SnapshotRow {
            id: SnapshotId::random(),
            state: SnapshotState::Taking,
            sandbox: Some(sandbox.id.clone()),
            name: params.name,
            description: params.description,
            image: sandbox.image.clone(),
            image_digest: sandbox.image_digest.clone(),
            root: sandbox.root,
            bytes: 0,
            created_at: now,
            expires_at,
        };
        self.store.insert_snapshot(&row).await?;
        let taken = self.snapshots()?.take(&sandbox.id, &row.id);
        match self.metrics.timed(Operation::Snapshot, taken).await {
            Ok(status) => self.store.snapshot_taken(&row.id, status.bytes).await?,
            Err(error) => {
                if let Err(ApiError(problem)) = self.drop_snapshot(&row.id).await {
                    tracing::warn!(snapshot.id = %row.id, error = %problem.detail, "a snapshot that failed is removed later");
                }
                return Err(error.into());
            }
        }
        self.snapshot(&row.id).await
    }

    /// The row of a snapshot.
    pub(crate) async fn snapshot(&self, id: &SnapshotId) -> Result<SnapshotRow, ApiError> {
        self.store
            .snapshot(id)
            .await?
            .ok_or_else(|| unknown_snapshot(id))
    }

    /// All snapshots, or those of one sandbox, the newest first.
    pub(crate) async fn list_snapshots(
        &self,
        sandbox: Option<&SandboxId>,
    ) -> Result<Vec<SnapshotRow>, ApiError> {
        Ok(self.store.snapshots(sandbox).await?)
    }

    /// Puts the files of a snapshot in the place of a sandbox's own. One that runs is stopped for it and runs again
    /// after it.
    pub(crate) async fn restore(
        self: &Arc<Self>,
        id: &SandboxId,
        snapshot: &str,
    ) -> Result<SandboxRow, ApiError> {
        let snapshot = self.ready_snapshot("snapshot", snapshot).await?;
        let id = id.clone();
        self.detached(|this| async move {
            let (driver, _turn) = this.turn(&id).await?;
            let mut row = this.get(&id).await?;
            this.may_restore(&row, &snapshot).await?;
            let was_up = matches!(row.state, SandboxState::Running | SandboxState::Frozen);
            let stopped = row.state.after(Transition::Stop)?;
            driver.inner().is_open = false;
            driver.left(FAREWELL).await;
            this.shift(&driver, move_of(&driver, row.state, stopped))
                .await?;
            row.state = stopped;
            driver.detach(Down::Stopped);
            match this.runtime.stop(&id, GRACE).await {
                Ok(()) | Err(RuntimeError::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let restored = this.snapshots()?.restore(&id, &snapshot.id);
            this.metrics.timed(Operation::Restore, restored).await?;
            if row.archive.take().is_some() {
                // Its files are these now, and not those that a fetch did not bring.
                let shift = Shift {
                    archive: ArchiveChange::Clear,
                    ..move_of(&driver, stopped, stopped)
                };
                this.shift(&driver, shift).await?;
            }
            if was_up {
                let told = event("started", json!({ "why": "restored" }));
                this.restart(&driver, &row, told, |_| {}).await?;
            }
            this.get(&id).await
        })
        .await
    }

    async fn may_restore(&self, row: &SandboxRow, from: &SnapshotRow) -> Result<(), ApiError> {
        if from.image_digest != row.image_digest {
            let detail = format!(
                "snapshot {} was made over another image ({}) than sandbox {} ({})",
                from.id, from.image, row.id, row.image
            );
            let problem = Problem::new(Code::StateConflict, detail);
            return Err(problem
                .with_remedy("make a new sandbox from the snapshot instead")
                .into());
        }
        // A turn would go on over files that it has not written.
        if !self.store.open_tasks_of(&row.id).await?.is_empty() {
            let detail = format!("an agent works in sandbox {}", row.id);
            let problem = Problem::new(Code::StateConflict, detail);
            return Err(problem
                .with_remedy("wait until it has ended, or cancel its task")
                .into());
        }
        Ok(())
    }

    /// Makes a new sandbox with the files, environment, limits and policies that this one has now.
    pub(crate) async fn fork(
        self: &Arc<Self>,
        id: &SandboxId,
        params: ForkParams,
    ) -> Result<SandboxRow, ApiError> {
        if let Some(labels) = &params.labels {
            validate::labels(labels)?;
        }
        let row = self.get(id).await?;
        let snapshot = SnapshotParams {
            name: Some(format!("fork of {id}")),
            expires_in_ms: u64::try_from(FORK_LASTS.as_millis()).ok(),
            ..SnapshotParams::default()
        };
        let snapshot = self.take_snapshot(id, snapshot).await?;
        let created = self
            .create(CreateParams {
                snapshot: Some(snapshot.id.to_string()),
                egress: self.egress_like(&row),
                ..like(&row, params)
            })
            .await;
        // Its blocks are the new sandbox's own now.
        if let Err(ApiError(problem)) = self.drop_snapshot(&snapshot.id).await {
            tracing::warn!(snapshot.id = %snapshot.id, error = %problem.detail, "the snapshot of a fork is removed later");
        }
        created
    }

    /// Removes a snapshot that no template needs.
    pub(crate) async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), ApiError> {
        self.snapshot(id).await?;
        if let Some(template) = self.template_of(id).await? {
            let detail = format!("template {} needs snapshot {id}", template.name);
            let problem = Problem::new(Code::StateConflict, detail);
            return Err(problem.with_remedy("remove the template first").into());
        }
        self.drop_snapshot(id).await
    }

    /// Row, world, row: what is half removed says so.
    async fn drop_snapshot(&self, id: &SnapshotId) -> Result<(), ApiError> {
        self.store.snapshot_going(id).await?;
        match self.snapshots()?.delete(id).await {
            Ok(()) | Err(RuntimeError::UnknownSnapshot(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.delete_snapshot(id).await?)
    }

    /// Finishes what a killed server has begun, removes what no row knows, and what has had its time.
    pub(crate) async fn reconcile_snapshots(&self) -> Result<(), ApiError> {
        let Some(snapshots) = self.runtime.snapshots() else {
            return Ok(());
        };
        // The world before the rows: a snapshot has its row before it is in the world.
        let world: HashMap<SnapshotId, u64> = snapshots
            .list()
            .await?
            .into_iter()
            .map(|status| (status.id, status.bytes))
            .collect();
        let rows = self.store.snapshots(None).await?;
        let known: HashSet<&SnapshotId> = rows.iter().map(|row| &row.id).collect();
        for stray in world.keys().filter(|id| !known.contains(id)) {
            tracing::warn!(snapshot.id = %stray, "removing a snapshot that no row knows");
            if let Err(error) = snapshots.delete(stray).await {
                tracing::warn!(snapshot.id = %stray, %error, "it cannot be removed; it is tried again");
            }
        }
        for row in rows {
            if let Err(ApiError(problem)) = self.mend_snapshot(&row, world.get(&row.id)).await {
                tracing::warn!(snapshot.id = %row.id, error = %problem.detail, "snapshot could not be mended");
            }
        }
        Ok(())
    }

    /// Mends one snapshot that has a row, and `bytes` in the world if it is there.
    async fn mend_snapshot(&self, row: &SnapshotRow, bytes: Option<&u64>) -> Result<(), ApiError> {
        match row.state {
            SnapshotState::Taking => self.finish_taking(row, bytes).await,
            SnapshotState::Deleting => self.drop_snapshot(&row.id).await,
            SnapshotState::Ready => {
                let has_had_its_time = row.expires_at.is_some_and(|at| at <= clock::now());
                if has_had_its_time && self.template_of(&row.id).await?.is_none() {
                    self.drop_snapshot(&row.id).await?;
                }
                Ok(())
            }
        }
    }

    /// The template that begins with a snapshot, if there is one.
    async fn template_of(&self, id: &SnapshotId) -> Result<Option<TemplateRow>, ApiError> {
        let mut templates = self.store.templates().await?.into_iter();
        Ok(templates.find(|template| template.snapshot.as_ref() == Some(id)))
    }

    /// One that is being taken right now is left to whoever takes it.
    async fn finish_taking(&self, row: &SnapshotRow, bytes: Option<&u64>) -> Result<(), ApiError> {
        let driver = row.sandbox.as_ref().and_then(|id| self.drivers.get(id));
        let _turn = match &driver {
            Some(driver) => match driver.try_turn() {
                Some(turn) => Some(turn),
                None => return Ok(()),
            },
            None => None,
        };
        match bytes {
            Some(bytes) => Ok(self.store.snapshot_taken(&row.id, *bytes).await?),
            // The row may be younger than the look at the world.
            None => match self.snapshot(&row.id).await {
                Ok(now) if now.state == SnapshotState::Taking => self.drop_snapshot(&row.id).await,
                Ok(_) | Err(_) => Ok(()),
            },
        }
    }
}

/// What it takes to make a sandbox that is like another.
fn like(row: &SandboxRow, params: ForkParams) -> CreateParams {
    CreateParams {
        env: row.env.clone(),
        labels: params.labels.unwrap_or_else(|| row.labels.clone()),
        limits: glass_api::LimitsParams {
            memory_bytes: Some(row.limits.memory_bytes),
            cpu_millis: Some(row.limits.cpu_millis),
            pids: Some(row.limits.pids),
            disk_bytes: Some(row.limits.disk_bytes),
            cpu_weight: Some(row.limits.cpu_weight),
            open_files: Some(row.limits.open_files),
            network_bytes_per_second: Some(row.limits.network_bytes_per_second),
        },
        ports: row.ports.clone(),
        root: Some(row.root.to_string()),
        isolation: Some(row.isolation.to_string()),
        visibility: Some(row.visibility.to_string()),
        idle: row.idle,
        ..CreateParams::default()
    }
}

fn unknown_snapshot(id: &SnapshotId) -> ApiError {
    let problem = Problem::new(
        Code::SnapshotNotFound,
        format!("snapshot {id} was not found"),
    );
    problem
        .with_remedy("`glasshouse snapshot ls` lists the snapshots that there are")
        .into()
}
