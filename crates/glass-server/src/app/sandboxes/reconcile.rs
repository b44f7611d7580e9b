//! Makes the world match the rows: at the start of the server, and from time to time.
//!
//! One look at the world and one at the rows; only where they differ is anything done for a sandbox. What somebody
//! changes just now is left to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use glass_runtime::{Activity, RuntimeError};
use glass_store::SandboxRow;
use glass_types::{SandboxId, SandboxState};

use super::driver::Driver;
use super::wake::{Wanted, ongoing};
use super::{GRACE, Sandboxes};
use crate::clock;
use crate::error::ApiError;

/// How many sandboxes are mended at once: enough to be quick, few enough to leave the machine usable.
const AT_ONCE: usize = 8;
/// The runtime answers at once about what has ended.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Differences between rows and world that the reconciler mends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    /// It runs, and nobody served its gateway.
    Attach,
    /// It should run and had no process.
    Restart,
    /// It should rest and had processes, or they were not tidied up after.
    Stop,
    /// It should stand still and ran.
    Freeze,
    /// It should run and stood still.
    Thaw,
    /// Its making or removal was begun and not ended.
    Finish,
    /// Its files are in the archive, and some were left here.
    Release,
    /// No row knew it.
    Orphan,
}

impl Repair {
    fn as_str(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Finish => "finish",
            Self::Release => "release",
            Self::Orphan => "orphan",
        }
    }
}

/// What there is to mend, told from a row and a look at the world.
fn difference(
    state: SandboxState,
    activity: Option<Activity>,
    is_attached: bool,
) -> Option<Repair> {
    use Activity as A;
    match (state, activity) {
        (SandboxState::Creating | SandboxState::Destroying, _) => Some(Repair::Finish),
        (SandboxState::Running, None | Some(A::Ended | A::Stopped)) => Some(Repair::Restart),
        (SandboxState::Frozen, None | Some(A::Ended | A::Stopped)) => Some(Repair::Stop),
        (SandboxState::Running | SandboxState::Frozen, Some(_)) if !is_attached => {
            Some(Repair::Attach)
        }
        (SandboxState::Running, Some(A::Frozen)) => Some(Repair::Thaw),
        (SandboxState::Frozen, Some(A::Running)) => Some(Repair::Freeze),
        (SandboxState::Stopped | SandboxState::Failed, Some(A::Running | A::Frozen | A::Ended)) => {
            Some(Repair::Stop)
        }
        (SandboxState::Archived, Some(_)) => Some(Repair::Release),
        (SandboxState::Running, Some(A::Running))
        | (SandboxState::Frozen, Some(A::Frozen))
        | (SandboxState::Stopped | SandboxState::Failed, None | Some(A::Stopped))
        | (SandboxState::Archived, None) => None,
    }
}

impl Sandboxes {
    /// Mends every difference between rows and world.
    pub(crate) async fn reconcile(self: &Arc<Self>) -> Result<(), ApiError> {
        // The world before the rows: a sandbox has its row before it is in the world, so what is in this list and has
        // no row later is nobody's.
        let mut world: HashMap<SandboxId, Activity> = self
            .runtime
            .list()
            .await?
            .into_iter()
            .map(|status| (status.id, status.activity))
            .collect();
        let mut differing: Vec<(SandboxId, Option<Activity>)> = Vec::new();
        for row in self.store.sandboxes().await? {
            let activity = world.remove(&row.id);
            let driver = self.drivers.get(&row.id);
            let is_attached = driver.is_some_and(|driver| driver.attached().is_some());
            if difference(row.state, activity, is_attached).is_some() {
                differing.push((row.id, activity));
            }
        }
        // What is left has no row.
        differing.extend(world.into_iter().map(|(id, activity)| (id, Some(activity))));
        futures::stream::iter(differing)
            .for_each_concurrent(AT_ONCE, |(id, activity)| self.mend(id, activity))
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
                    this.runtime.destroy(&id).await?;
                    this.metrics.repair(Repair::Orphan.as_str());
                    return Ok(());
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

    /// Mends one sandbox, in our turn. The row is fresh, the look at the world may be older: whatever is done here is
    /// right, or does nothing, if that has changed.
    async fn match_world(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        row: &SandboxRow,
        activity: Option<Activity>,
    ) -> Result<(), ApiError> {
        let is_attached = driver.attached().is_some();
        let Some(repair) = difference(row.state, activity, is_attached) else {
            return Ok(());
        };
        match repair {
            Repair::Finish if row.state == SandboxState::Destroying || driver.inner().is_doomed => {
                self.remove(driver).await?;
            }
            // A server was killed in the middle of it. Started beside us: starts take long, and the server is ready
            // without them.
            Repair::Finish => {
                {
                    let inner = driver.inner();
                    let waits = ongoing(inner.wake.as_ref()).is_some()
                        || inner.trouble.holds(clock::steady()).is_some();
                    if waits {
                        return Ok(());
                    }
                }
                drop(self.wake(driver, Wanted::Death(Duration::ZERO))?);
            }
            Repair::Restart | Repair::Stop
                if matches!(row.state, SandboxState::Running | SandboxState::Frozen) =>
            {
                if self.lives(driver).await {
                    return Ok(());
                }
                self.died(driver, "its processes ended while nobody looked")
                    .await?;
            }
            Repair::Attach => {
                self.attach(driver).await?;
                match (row.state, activity) {
                    (SandboxState::Running, Some(Activity::Frozen)) => {
                        self.runtime.thaw(&row.id).await?;
                        self.metrics.repair(Repair::Thaw.as_str());
                        driver.inner().is_open = true;
                    }
                    (SandboxState::Running, _) => driver.inner().is_open = true,
                    (_, Some(Activity::Running)) => {
                        self.runtime.freeze(&row.id).await?;
                        self.metrics.repair(Repair::Freeze.as_str());
                    }
                    _ => {}
                }
            }
            Repair::Thaw => self.runtime.thaw(&row.id).await?,
            Repair::Freeze => self.runtime.freeze(&row.id).await?,
            Repair::Stop => {
                if driver.inner().rests.holds(clock::steady()).is_some() {
                    return Ok(());
                }
                match self.runtime.stop(&row.id, GRACE).await {
                    Ok(()) | Err(RuntimeError::Unknown(_)) => driver.inner().rests.over(),
                    Err(error) => {
                        let ApiError(problem) = error.into();
                        let mut inner = driver.inner();
                        inner.rests.failed(clock::steady(), problem.clone());
                        return Err(problem.into());
                    }
                }
            }
            Repair::Release => {
                // Only what the archive has may go here.
                if row.archive.is_some() {
                    self.runtime.destroy(&row.id).await?;
                }
            }
            // The first has been dealt with above, the other has no row.
            Repair::Restart | Repair::Orphan => {}
        }
        self.metrics.repair(repair.as_str());
        Ok(())
    }

    /// Whether a sandbox that we serve has processes now.
    async fn lives(&self, driver: &Driver) -> bool {
        if driver.attached().is_none() {
            return false;
        }
        let exited = self.runtime.exited(&driver.id);
        match tokio::time::timeout(A_MOMENT, exited).await {
            Err(_) => true,
            Ok(Ok(()) | Err(RuntimeError::Unknown(_) | RuntimeError::NotRunning(_))) => false,
            Ok(Err(error)) => {
                // What cannot be told is no reason to end what may be alive.
                tracing::warn!(sandbox.id = %driver.id, %error, "cannot tell whether a sandbox lives");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_is_left_alone() {
        use Activity as A;
        for (state, activity) in [
            (SandboxState::Running, Some(A::Running)),
            (SandboxState::Frozen, Some(A::Frozen)),
            (SandboxState::Stopped, Some(A::Stopped)),
            (SandboxState::Failed, None),
            (SandboxState::Failed, Some(A::Stopped)),
            (SandboxState::Archived, None),
        ] {
            assert_eq!(
                difference(state, activity, true),
                None,
                "{state} {activity:?}"
            );
        }
    }

    #[test]
    fn every_other_pair_has_its_repair() {
        use Activity as A;
        for state in SandboxState::ALL {
            for activity in [
                None,
                Some(A::Running),
                Some(A::Frozen),
                Some(A::Ended),
                Some(A::Stopped),
            ] {
                let repair = difference(state, activity, false);
                let is_up = matches!(activity, Some(A::Running | A::Frozen));
                let is_untidy = is_up || activity == Some(A::Ended);
                let expected = match state {
                    SandboxState::Creating | SandboxState::Destroying => Some(Repair::Finish),
                    SandboxState::Running if is_up => Some(Repair::Attach),
                    SandboxState::Frozen if is_up => Some(Repair::Attach),
                    SandboxState::Running => Some(Repair::Restart),
                    SandboxState::Frozen => Some(Repair::Stop),
                    SandboxState::Stopped | SandboxState::Failed => {
                        is_untidy.then_some(Repair::Stop)
                    }
                    SandboxState::Archived => activity.map(|_| Repair::Release),
                };
                assert_eq!(repair, expected, "{state} {activity:?}");
            }
        }
    }
}
