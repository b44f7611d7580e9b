//! What a new sandbox begins with: an image, a snapshot, or what a template says.

use glass_api::{Code, CreateParams, LimitsParams, Problem};
use glass_store::{SnapshotRow, SnapshotState};
use glass_types::{IdleWish, RootMode, SnapshotId};

use super::Sandboxes;
use crate::app::templates;
use crate::error::ApiError;

const DEFAULT_IMAGE: &str = "base";

/// What a new sandbox begins with.
pub(super) struct Origin {
    /// What was asked for, with what the template adds.
    pub(super) params: CreateParams,
    pub(super) snapshot: Option<SnapshotId>,
    pub(super) image: String,
    pub(super) image_digest: String,
}

impl Sandboxes {
    /// Finds out what a new sandbox begins with.
    pub(super) async fn origin(&self, mut params: CreateParams) -> Result<Origin, ApiError> {
        let given = [
            ("image", &params.image),
            ("template", &params.template),
            ("snapshot", &params.snapshot),
        ];
        let mut given = given
            .iter()
            .filter_map(|(field, value)| value.as_ref().map(|value| (*field, value)));
        if let (Some((first, _)), Some((second, value))) = (given.next(), given.next()) {
            let message = format!("give either {first} or {second}");
            return Err(Problem::field(second, value, message).into());
        }
        let mut snapshot = params.snapshot.clone();
        let mut image = params.image.clone();
        if let Some(name) = &params.template {
            let template = templates::existing(&self.store, name).await?;
            snapshot = template.snapshot.as_ref().map(ToString::to_string);
            image = Some(template.image.clone());
            let defaults = templates::defaults(&template)?;
            let own = std::mem::take(&mut params.env);
            params.env = defaults.env;
            params.env.extend(own);
            params.limits = limits(params.limits, defaults.limits);
            params.idle = idle(params.idle, defaults.idle);
            params.root = params.root.or(defaults.root);
            params.isolation = params.isolation.or(defaults.isolation);
            params.egress = params.egress.or(defaults.egress);
        }
        let Some(snapshot) = snapshot else {
            let name = image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
            let digest = self.image(&name).await?.digest.to_string();
            return Ok(Origin {
                params,
                snapshot: None,
                image: name,
                image_digest: digest,
            });
        };
        let kept = self.ready_snapshot("snapshot", &snapshot).await?;
        // What root has installed is among the files, and a root that is thrown away would lose it.
        if kept.root == RootMode::Writable {
            params.root = params.root.or_else(|| Some(kept.root.to_string()));
        }
        Ok(Origin {
            params,
            snapshot: Some(kept.id),
            image: kept.image,
            image_digest: kept.image_digest,
        })
    }

    /// A snapshot that can be used, by the id that a field gave.
    pub(crate) async fn ready_snapshot(
        &self,
        field: &str,
        id: &str,
    ) -> Result<SnapshotRow, ApiError> {
        let id: SnapshotId = id
            .parse()
            .map_err(|error: glass_types::IdError| Problem::field(field, id, error.to_string()))?;
        self.snapshots()?;
        let row = self.snapshot(&id).await?;
        match row.state {
            SnapshotState::Ready => Ok(row),
            SnapshotState::Taking | SnapshotState::Deleting => Err(Problem::new(
                Code::SnapshotNotFound,
                format!("snapshot {id} cannot be used: it is {}", row.state),
            )
            .into()),
        }
    }
}

/// The owner's wishes, then the template's.
fn limits(own: LimitsParams, template: LimitsParams) -> LimitsParams {
    LimitsParams {
        memory_bytes: own.memory_bytes.or(template.memory_bytes),
        cpu_millis: own.cpu_millis.or(template.cpu_millis),
        pids: own.pids.or(template.pids),
        disk_bytes: own.disk_bytes.or(template.disk_bytes),
        cpu_weight: own.cpu_weight.or(template.cpu_weight),
        open_files: own.open_files.or(template.open_files),
        network_bytes_per_second: own
            .network_bytes_per_second
            .or(template.network_bytes_per_second),
    }
}

/// The owner's wishes, then the template's.
fn idle(own: IdleWish, template: IdleWish) -> IdleWish {
    IdleWish {
        always_on: own.always_on.or(template.always_on),
        freeze_after_ms: own.freeze_after_ms.or(template.freeze_after_ms),
        stop_after_ms: own.stop_after_ms.or(template.stop_after_ms),
        archive_after_ms: own.archive_after_ms.or(template.archive_after_ms),
    }
}
