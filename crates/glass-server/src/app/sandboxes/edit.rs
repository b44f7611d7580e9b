//! What may be changed of a sandbox at any time: labels, idle policy, visibility, limits, keepalive.

use std::collections::BTreeMap;
use std::sync::Arc;

use glass_api::{KeepaliveParams, KeepaliveView, Problem, SandboxPatch, SettingsParams};
use glass_store::SandboxRow;
use glass_types::{SandboxId, Visibility};

use super::{Sandboxes, not_found};
use crate::app::{Settings, validate};
use crate::clock;
use crate::error::ApiError;

impl Sandboxes {
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes settings of the server; idle policies take effect at once.
    pub(crate) async fn change_settings(
        self: &Arc<Self>,
        params: SettingsParams,
    ) -> Result<(), ApiError> {
        self.detached(|this| async move {
            let _editing = this.editing.lock().await;
            this.settings.change(params).await?;
            for driver in this.drivers.all() {
                let mut inner = driver.inner();
                inner.policy = this.settings.idle().with(inner.idle);
            }
            Ok(())
        })
        .await
    }

    /// Changes what is given and leaves the rest.
    pub(crate) async fn edit(
        self: &Arc<Self>,
        id: &SandboxId,
        patch: SandboxPatch,
    ) -> Result<SandboxRow, ApiError> {
        let row = self.get(id).await?;
        let visibility = patch
            .visibility
            .map(|word| {
                let read: Result<Visibility, String> = word.parse();
                read.map_err(|message| Problem::field("visibility", word, message))
            })
            .transpose()?;
        if let Some(bytes) = patch.limits.disk_bytes {
            let message = format!(
                "the disk of a sandbox keeps its size, {}; make a fork with another",
                row.limits.disk_bytes
            );
            return Err(Problem::field("limits.disk_bytes", bytes, message).into());
        }
        let (limits, idle) = (validate::limits(&patch.limits, row.limits)?, patch.idle);
        let changed = move |labels: &BTreeMap<String, String>| {
            let mut labels = labels.clone();
            for (name, value) in &patch.labels {
                match value {
                    Some(value) => labels.insert(name.clone(), value.clone()),
                    None => labels.remove(name),
                };
            }
            labels
        };
        validate::labels(&changed(&row.labels))?;
        self.editing(id, move |row| {
            row.labels = changed(&row.labels);
            row.visibility = visibility.unwrap_or(row.visibility);
            row.idle = idle.unwrap_or(row.idle);
            row.limits = limits;
        })
        .await
    }

    /// Keeps a sandbox from resting until a time, or lets it rest again. What is in force is in the answer.
    pub(crate) async fn keep_alive(
        self: &Arc<Self>,
        id: &SandboxId,
        params: KeepaliveParams,
    ) -> Result<KeepaliveView, ApiError> {
        let (now, most) = (clock::now(), self.settings.keepalive_max_ms());
        if let Some(until) = params.until.filter(|until| *until <= now) {
            let message = format!("give a time after now ({now}), or null to end the keepalive");
            return Err(Problem::field("until", until, message).into());
        }
        let limit = now.saturating_add_unsigned(most);
        let row = self
            .editing(id, move |row| {
                row.keepalive_until = match params.until {
                    None => None,
                    // One that lasts longer was somebody's, too.
                    Some(until) => Some(
                        until
                            .min(limit)
                            .max(row.keepalive_until.unwrap_or_default()),
                    ),
                };
            })
            .await?;
        Ok(KeepaliveView {
            until: row.keepalive_until,
            asked: params.until,
            longest_ms: most,
        })
    }

    /// Edits a row and tells its driver, both whoever waits for it: in the one alone it would not hold.
    pub(super) async fn editing(
        self: &Arc<Self>,
        id: &SandboxId,
        edit: impl FnOnce(&mut SandboxRow) + Send + 'static,
    ) -> Result<SandboxRow, ApiError> {
        let id = id.clone();
        self.detached(|this| async move {
            let _editing = this.editing.lock().await;
            let row = this.store.edit_sandbox(&id, edit).await?;
            let row = row.ok_or_else(|| not_found(&id))?;
            this.note_edit(&row);
            Ok(row)
        })
        .await
    }

    /// Tells the driver of an edited row.
    fn note_edit(&self, row: &SandboxRow) {
        let Some(driver) = self.drivers.get(&row.id) else {
            return;
        };
        self.note_egress(&driver, row);
        let mut inner = driver.inner();
        inner.idle = row.idle;
        inner.policy = self.settings.idle().with(row.idle);
        inner.visibility = row.visibility;
        inner.keepalive_until = row.keepalive_until;
    }

    /// Who may see the previews of a sandbox, if there is one. Asks nobody.
    pub(crate) fn visibility(&self, id: &SandboxId) -> Option<Visibility> {
        Some(self.drivers.get(id)?.inner().visibility)
    }
}
