//! Waking: from wherever a sandbox rests to a guest that answers.
//!
//! All who need a sandbox at the same time ride one wake and get its outcome, failure included. It runs in a task of its
//! own, so nobody who gives up takes it from the others.

use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, Problem};
use glass_runtime::RuntimeError;
use glass_store::SandboxRow;
use glass_types::{SandboxId, SandboxState, Transition};
use serde_json::json;
use tokio::sync::watch;

use super::Sandboxes;
use super::driver::{Attached, Driver};
use super::move_of;
use super::rest::event;
use super::room::TRY_AGAIN;
use super::uses::Use;
use crate::clock;
use crate::error::ApiError;
use crate::metrics::Operation;

/// How far a wake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WakeStep {
    /// It rests, and nobody wakes it.
    Resting(SandboxState),
    /// It waits for another change of the sandbox to end.
    Waiting,
    /// It gets its CPU back.
    Thawing,
    /// Others give way, where memory is short.
    MakingRoom,
    /// Its files come from the archive; percent.
    Fetching(u8),
    /// Its guest is being started.
    Starting,
    /// It is awake.
    Ready,
    /// It did not wake.
    Failed(Problem),
}

impl WakeStep {
    /// Whether nothing more will come.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Resting(_)
            | Self::Waiting
            | Self::Thawing
            | Self::MakingRoom
            | Self::Fetching(_)
            | Self::Starting => false,
            Self::Ready | Self::Failed(_) => true,
        }
    }
}

/// Who wants a sandbox to wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A use. It is refused while it is too early to try again.
    Use,
    /// Somebody who said so.
    Command,
    /// Nobody: it ended by itself, and is started anew after a pause.
    Death(Duration),
}

impl Sandboxes {
    /// Brings a sandbox up from wherever it is; one that runs is left alone.
    pub(crate) async fn start(self: &Arc<Self>, id: &SandboxId) -> Result<SandboxRow, ApiError> {
        let driver = self.driver(id)?;
        let is_open = {
            let mut inner = driver.inner();
            inner.last_used = clock::steady();
            inner.is_open
        };
        if !is_open {
            self.ride(&driver, Wanted::Command).await?;
        }
        self.get(id).await
    }

    /// How far the wake of a sandbox is, as it goes on. Ends with the wake that is going on now, if one is; what it
    /// holds then is the outcome.
    pub(crate) fn waking(&self, id: &SandboxId) -> Option<watch::Receiver<WakeStep>> {
        let driver = self.drivers.get(id)?;
        let inner = driver.inner();
        if let Some(wake) = ongoing(inner.wake.as_ref()) {
            return Some(wake);
        }
        let step = if inner.is_open {
            WakeStep::Ready
        } else if let Some(problem) = inner.trouble.last() {
            WakeStep::Failed(problem.clone())
        } else {
            WakeStep::Resting(inner.state)
        };
        Some(watch::channel(step).1)
    }

    /// Wakes the sandbox of a use, if it rests.
    pub(crate) async fn rouse(self: &Arc<Self>, held: &Use) -> Result<Attached, ApiError> {
        loop {
            {
                let inner = held.driver.inner();
                if inner.is_open
                    && let Some(attached) = &inner.attached
                {
                    return Ok(attached.clone());
                }
            }
            // Somebody may stop it again before we look; then this begins anew, and ends when it is removed or fails.
            self.ride(&held.driver, Wanted::Use).await?;
        }
    }

    /// Waits for the outcome of the wake that is going on, or of a new one.
    async fn ride(self: &Arc<Self>, driver: &Arc<Driver>, wanted: Wanted) -> Result<(), ApiError> {
        let mut steps = self.wake(driver, wanted)?;
        let outcome = match steps.wait_for(WakeStep::is_final).await {
            Ok(step) => step.clone(),
            // The server stops, or the wake had a defect and the log has it.
            Err(_) => WakeStep::Failed(
                Problem::new(
                    Code::SandboxUnavailable,
                    format!("the wake of sandbox {} was cut short", driver.id),
                )
                .with_retry_after(1),
            ),
        };
        match outcome {
            WakeStep::Failed(problem) => Err(problem.into()),
            WakeStep::Resting(_)
            | WakeStep::Waiting
            | WakeStep::Thawing
            | WakeStep::MakingRoom
            | WakeStep::Fetching(_)
            | WakeStep::Starting
            | WakeStep::Ready => Ok(()),
        }
    }

    /// The wake that is going on, or a new one.
    pub(super) fn wake(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        wanted: Wanted,
    ) -> Result<watch::Receiver<WakeStep>, ApiError> {
        let mut inner = driver.inner();
        inner.state.after(Transition::Start)?;
        if let Some(wake) = ongoing(inner.wake.as_ref()) {
            return Ok(wake);
        }
        if wanted == Wanted::Use
            && let Some(problem) = inner.trouble.holds(clock::steady())
        {
            return Err(problem.into());
        }
        let (steps, wake) = watch::channel(WakeStep::Waiting);
        inner.wake = Some(wake.clone());
        if wanted == Wanted::Command {
            inner.deaths.forget();
        }
        let (this, driver) = (Arc::clone(self), Arc::clone(driver));
        self.tracker.spawn(async move {
            if let Wanted::Death(pause) = wanted {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // The next server starts it.
                    () = this.shutdown.cancelled() => return,
                }
            }
            let turn = driver.turn().await;
            let outcome = Box::pin(this.bring_back(&driver, &steps, wanted)).await;
            let step = {
                let mut inner = driver.inner();
                inner.wake = None;
                match outcome {
                    Ok(()) => {
                        inner.trouble.over();
                        WakeStep::Ready
                    }
                    Err(ApiError(problem)) => {
                        let now = clock::steady();
                        // That there is no room is nobody's failure, and says itself when to come back.
                        if problem.code != Code::LowMemory {
                            inner.trouble.failed(now, problem.clone());
                        } else if let Wanted::Death(_) = wanted {
                            // Nobody is told, so the reconciler is to wait.
                            let pause = Duration::from_secs(TRY_AGAIN);
                            inner.trouble.wait(now, pause, problem.clone());
                        }
                        WakeStep::Failed(problem)
                    }
                }
            };
            // In our turn: whoever looks next finds what this says.
            steps.send_replace(step);
            drop(turn);
        });
        Ok(wake)
    }

    /// From wherever it is to a guest that answers, in our turn.
    async fn bring_back(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        steps: &watch::Sender<WakeStep>,
        wanted: Wanted,
    ) -> Result<(), ApiError> {
        let row = self.get(&driver.id).await?;
        row.state.after(Transition::Start)?;
        if matches!(wanted, Wanted::Death(_)) && row.state != SandboxState::Creating {
            // Somebody has stopped it since.
            return Ok(());
        }
        match row.state {
            SandboxState::Running if driver.attached().is_some() => {
                driver.inner().is_open = true;
                return Ok(());
            }
            SandboxState::Frozen if driver.attached().is_some() => {
                steps.send_replace(WakeStep::Thawing);
                if self.thaw(driver).await? {
                    return Ok(());
                }
            }
            // Of a server before this one, and the reconciler has not come to it yet. It may stand still.
            SandboxState::Running | SandboxState::Frozen => {
                steps.send_replace(WakeStep::Thawing);
                if self.thaw_foreign(driver, row.state).await? {
                    return Ok(());
                }
            }
            SandboxState::Creating
            | SandboxState::Stopped
            | SandboxState::Archived
            | SandboxState::Failed
            | SandboxState::Destroying => {}
        }
        steps.send_replace(WakeStep::MakingRoom);
        let _room = self.room(&row).await?;
        steps.send_replace(WakeStep::Starting);
        let told = match wanted {
            Wanted::Use => event("started", json!({ "why": "used" })),
            Wanted::Command => event("started", json!({ "why": "asked" })),
            Wanted::Death(_) => event("restarted", json!({})),
        };
        let fetching = |percent| drop(steps.send_replace(WakeStep::Fetching(percent)));
        self.restart(driver, &row, told, fetching).await
    }

    /// Gives a frozen sandbox its CPU back. Answers whether it had processes that could take it.
    async fn thaw(&self, driver: &Arc<Driver>) -> Result<bool, ApiError> {
        let (from, to) = (SandboxState::Frozen, SandboxState::Running);
        // Both at once, for each takes as long as the other: killed between the two, a server finds a frozen row whose
        // sandbox runs, or a running one whose sandbox stands still, and mends either.
        let (moved, thawed) = tokio::join!(
            self.shift(driver, move_of(driver, from, to)),
            self.metrics
                .timed(Operation::Thaw, self.runtime.thaw(&driver.id))
        );
        match thawed {
            Ok(()) => {}
            Err(RuntimeError::NotRunning(_)) => return Ok(false),
            Err(error) => {
                if moved.is_ok() {
                    self.shift(driver, move_of(driver, to, from)).await?;
                }
                return Err(error.into());
            }
        }
        if let Err(error) = moved {
            if let Err(error) = self.runtime.freeze(&driver.id).await {
                tracing::warn!(sandbox.id = %driver.id, %error, "cannot freeze again what the database would not let wake");
            }
            return Err(error);
        }
        driver.inner().is_open = true;
        Ok(true)
    }

    /// Takes over a sandbox that runs, or stands still, without us. Answers whether it had processes.
    async fn thaw_foreign(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        from: SandboxState,
    ) -> Result<bool, ApiError> {
        match self.runtime.thaw(&driver.id).await {
            Ok(()) => {}
            Err(RuntimeError::NotRunning(_) | RuntimeError::Unknown(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.attach(driver).await?;
        if from != SandboxState::Running {
            let shift = move_of(driver, from, SandboxState::Running);
            self.shift(driver, shift).await?;
        }
        driver.inner().is_open = true;
        Ok(true)
    }
}

pub(super) fn ongoing(
    wake: Option<&watch::Receiver<WakeStep>>,
) -> Option<watch::Receiver<WakeStep>> {
    let wake = wake?;
    // One whose sender is gone ended without a word.
    (!wake.borrow().is_final() && wake.has_changed().is_ok()).then(|| wake.clone())
}
