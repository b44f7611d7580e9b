//! Putting a sandbox to rest: freezing and stopping it, whoever wants it.
//!
//! The row is written first. A rest that fails takes nothing away: the sandbox is as it was, or the reconciler ends what
//! was begun.

use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, Problem};
use glass_runtime::RuntimeError;
use glass_store::SandboxRow;
use glass_types::{Rest, SandboxId, SandboxState, Transition};
use serde_json::json;

use super::driver::{Down, Driver, Turn};
use super::move_of;
use super::uses::UseKind;
use super::{GRACE, Sandboxes};
use crate::clock;
use crate::error::ApiError;
use crate::metrics::Operation;

/// How long requests that are under way have to end when a sandbox is stopped.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// Why a sandbox is put to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its idle policy says so.
    Idle,
    /// Somebody said so.
    Asked,
}

impl Why {
    fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Asked => "asked",
        }
    }
}

impl Sandboxes {
    /// Takes the CPU of a sandbox that nobody uses. The next use gives it back.
    pub(crate) async fn freeze(self: &Arc<Self>, id: &SandboxId) -> Result<SandboxRow, ApiError> {
        let id = id.clone();
        self.detached(|this| async move {
            let (driver, turn) = this.turn(&id).await?;
            let row = this.get(&id).await?;
            let next = row.state.after(Transition::Freeze)?;
            if next == row.state {
                return Ok(row);
            }
            {
                let mut inner = driver.inner();
                if let Some(uses) = in_words(&inner.uses) {
                    let problem = Problem::new(
                        Code::StateConflict,
                        format!("sandbox {id} is in use: {uses}"),
                    );
                    return Err(problem
                        .with_remedy(format!(
                            "end that first, or stop it with `glasshouse stop {id}`"
                        ))
                        .into());
                }
                inner.is_open = false;
            }
            this.rest(&driver, &turn, Rest::Freeze, Why::Asked).await?;
            this.get(&id).await
        })
        .await
    }

    /// Ends all processes of a sandbox; its files stay. Requests that are under way have a moment to end, and those that
    /// come from now on wait until it has stopped, and wake it.
    pub(crate) async fn stop(self: &Arc<Self>, id: &SandboxId) -> Result<SandboxRow, ApiError> {
        let id = id.clone();
        self.detached(|this| async move {
            let (driver, turn) = this.turn(&id).await?;
            let row = this.get(&id).await?;
            row.state.after(Transition::Stop)?;
            driver.inner().is_open = false;
            driver.left(FAREWELL).await;
            this.rest(&driver, &turn, Rest::Stop, Why::Asked).await?;
            this.get(&id).await
        })
        .await
    }

    /// Takes a step towards rest, in our turn and with the door closed.
    pub(super) async fn rest(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        _turn: &Turn,
        step: Rest,
        why: Why,
    ) -> Result<(), ApiError> {
        let done = match step {
            Rest::Freeze => {
                let frozen = self.take_cpu(driver);
                self.metrics.timed(Operation::Freeze, frozen).await
            }
            Rest::Stop => {
                self.note_memory(driver).await;
                let stopped = self.end_processes(driver, why);
                self.metrics.timed(Operation::Stop, stopped).await
            }
            Rest::Archive => {
                let archived = self.move_to_archive(driver);
                self.metrics.timed(Operation::Archive, archived).await
            }
        };
        match &done {
            Ok(()) => driver.inner().rests.over(),
            Err(ApiError(problem)) => {
                tracing::warn!(sandbox.id = %driver.id, step = step.as_str(), error = %problem.detail, "a sandbox could not be put to rest");
                let is_first = {
                    let mut inner = driver.inner();
                    let is_first = inner.rests.last().is_none();
                    inner.rests.failed(clock::steady(), problem.clone());
                    is_first
                };
                // Told once, not at each of the tries that follow.
                if is_first {
                    let data = json!({ "step": step.as_str(), "reason": problem.detail });
                    self.tell(&driver.id, "rest_failed", data).await;
                }
            }
        }
        done
    }

    async fn take_cpu(&self, driver: &Arc<Driver>) -> Result<(), ApiError> {
        let (from, to) = (SandboxState::Running, SandboxState::Frozen);
        let failed = match self.shift(driver, move_of(driver, from, to)).await {
            Ok(()) => match self.runtime.freeze(&driver.id).await {
                Ok(()) => {
                    driver.inner().is_reclaimed = false;
                    return Ok(());
                }
                Err(error) => {
                    // It may be frozen in part.
                    if let Err(error) = self.runtime.thaw(&driver.id).await {
                        tracing::warn!(sandbox.id = %driver.id, %error, "cannot thaw what could not be frozen");
                    }
                    self.shift(driver, move_of(driver, to, from)).await?;
                    error.into()
                }
            },
            Err(error) => error,
        };
        let mut inner = driver.inner();
        inner.is_open = inner.attached.is_some();
        Err(failed)
    }

    async fn end_processes(&self, driver: &Arc<Driver>, why: Why) -> Result<(), ApiError> {
        let (from, to) = (driver.inner().state, SandboxState::Stopped);
        let mut shift = move_of(driver, from, to);
        if from != to {
            shift = shift.telling(event("stopped", json!({ "why": why.as_str() })));
        }
        if let Err(error) = self.shift(driver, shift).await {
            let mut inner = driver.inner();
            inner.is_open = inner.attached.is_some() && inner.state == SandboxState::Running;
            return Err(error);
        }
        driver.detach(Down::Stopped);
        match self.runtime.stop(&driver.id, GRACE).await {
            // One that failed before it had files has nothing to be stopped.
            Ok(()) | Err(RuntimeError::Unknown(_)) => Ok(()),
            // The row says what is meant, and the reconciler tries again.
            Err(error) => Err(error.into()),
        }
    }
}

/// Something that a sandbox's owner is told now.
pub(super) fn event(kind: &'static str, data: serde_json::Value) -> glass_store::NewSandboxEvent {
    glass_store::NewSandboxEvent {
        kind,
        data,
        at: clock::now(),
    }
}

/// `1 terminal, 2 preview`
fn in_words(uses: &[u32; UseKind::ALL.len()]) -> Option<String> {
    let words: Vec<String> = UseKind::ALL
        .into_iter()
        .map(|kind| (kind, uses[kind as usize]))
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.as_str()))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
