//! Makes the world match the rows: at the start of the server, and from time to time.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use glass_runtime::{Activity, RuntimeError};
use glass_store::SandboxRow;
use glass_types::{SandboxId, SandboxState};

use super::driver::Driver;
use super::{GRACE, Sandboxes};
use crate::error::ApiError;

/// How many sandboxes are mended at once: enough to be quick, few enough to leave the machine usable.
const AT_ONCE: usize = 8;

impl Sandboxes {
    /// Mends every difference between rows and world: what runs is attached to, what should run and does not is
    /// started, what was being removed is removed, and what no row knows goes. What somebody changes just now is left
    /// to them.
    pub(crate) async fn reconcile(self: &Arc<Self>) -> Result<(), ApiError> {
        // The world before the rows: a sandbox has its row before it is in the world, so what is in this list and has
        // no row later is nobody's.
        let world: HashMap<SandboxId, Activity> = self
            .runtime
            .list()
            .await?
            .into_iter()
            .map(|status| (status.id, status.activity))
            .collect();
        let mut ids: Vec<SandboxId> = self.list().await?.into_iter().map(|row| row.id).collect();
        let strays = world.keys().filter(|id| !ids.contains(id)).cloned();
        let strays: Vec<SandboxId> = strays.collect();
        ids.extend(strays);
        futures::stream::iter(ids)
            .for_each_concurrent(AT_ONCE, |id| {
                let activity = world.get(&id).copied();
                self.mend(id, activity)
            })
            .await;
        Ok(())
    }

    async fn mend(self: &Arc<Self>, id: SandboxId, activity: Option<Activity>) {
        let mended = self.detached({
            let id = id.clone();
            |this| async move {
                let Some(driver) = this.drivers.get(&id) else {
                    // A driver is there before the row, and the row before the world.
                    tracing::warn!(sandbox.id = %id, "removing a sandbox that no row knows");
                    this.metrics.repair("orphan");
                    return Ok(this.runtime.destroy(&id).await?);
                };
                let Some(_turn) = driver.try_turn() else {
                    return Ok(());
                };
                match this.store.sandbox(&id).await? {
                    Some(row) => this.match_world(&driver, &row, activity).await,
                    // Removed while we looked.
                    None => Ok(()),
                }
            }
        });
        if let Err(ApiError(problem)) = mended.await {
            tracing::warn!(sandbox.id = %id, error = %problem.detail, "sandbox could not be mended");
        }
    }

    /// Mends one sandbox, in our turn.
    async fn match_world(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        row: &SandboxRow,
        activity: Option<Activity>,
    ) -> Result<(), ApiError> {
        let is_up = matches!(activity, Some(Activity::Running | Activity::Frozen));
        match row.state {
            SandboxState::Running | SandboxState::Frozen if driver.attached().is_some() => Ok(()),
            SandboxState::Running if is_up => {
                self.attach(driver).await?;
                driver.inner().is_open = true;
                Ok(())
            }
            SandboxState::Frozen if is_up => self.attach(driver).await,
            SandboxState::Creating if driver.inner().is_doomed => self.remove(driver).await,
            SandboxState::Running | SandboxState::Frozen | SandboxState::Creating => {
                self.metrics.repair("missing");
                self.restart(driver, row).await
            }
            SandboxState::Stopped | SandboxState::Failed if is_up => {
                self.metrics.repair("surplus");
                match self.runtime.stop(&row.id, GRACE).await {
                    Ok(()) | Err(RuntimeError::Unknown(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            SandboxState::Stopped | SandboxState::Failed | SandboxState::Archived => Ok(()),
            SandboxState::Destroying => {
                self.metrics.repair("unfinished");
                self.remove(driver).await
            }
        }
    }
}
