//! Room in the host's memory: made for a sandbox that comes, and when it gets short.

use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, Problem};
use glass_runtime::RuntimeError;
use glass_store::{SandboxRow, Shift};
use glass_types::{SandboxState, Transition};
use serde_json::json;

use super::driver::{Down, Driver, Inner};
use super::move_of;
use super::rest::event;
use super::uses::UseKind;
use super::{GRACE, Sandboxes};
use crate::app::memory::{Class, Level, Reservation, Resident, Shortage, Step, next};
use crate::clock;
use crate::error::ApiError;
use crate::metrics::Operation;

/// What a sandbox is expected to use of which nobody knows anything: a guest, an agent and a small app.
const UNKNOWN: u64 = 192 << 20;
/// Seconds after which somebody who was turned away may try again.
pub(super) const TRY_AGAIN: u64 = 30;
/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long a sandbox has to end by itself when memory is short.
const HURRY: Duration = Duration::from_secs(2);

impl Sandboxes {
    /// Keeps memory for a sandbox that is about to start. Where it does not fit, sandboxes that rest or idle go first;
    /// where that is not enough, it is refused.
    pub(super) async fn room(self: &Arc<Self>, row: &SandboxRow) -> Result<Reservation, ApiError> {
        let needed = self.expected(row).await?;
        if let Ok(reservation) = self.admission.reserve(needed) {
            return Ok(reservation);
        }
        // One at a time, or all who come would each send somebody away.
        let _relief = self.relief.lock().await;
        loop {
            let shortage = match self.admission.reserve(needed) {
                Ok(reservation) => return Ok(reservation),
                Err(shortage) => shortage,
            };
            let residents = self.residents().await;
            let to_gain: u64 = residents
                .iter()
                .filter(|one| matches!(one.class, Class::Frozen | Class::Idle))
                .map(|one| one.memory)
                .sum();
            let is_hopeless = shortage.free.saturating_add(to_gain) < needed;
            if is_hopeless || !self.take(Level::Tight, &residents).await {
                self.metrics.admission_refused();
                return Err(no_room(shortage).into());
            }
        }
    }

    /// Bytes that a sandbox used last time, else what others like it use.
    async fn expected(&self, row: &SandboxRow) -> Result<u64, ApiError> {
        let known = match row.memory_used {
            Some(bytes) => Some(bytes),
            None => self.store.typical_memory(row.template.as_deref()).await?,
        };
        Ok(known.unwrap_or(UNKNOWN).min(row.limits.memory_bytes))
    }

    /// Notes what a sandbox uses, before it is put to rest.
    pub(super) async fn note_memory(&self, driver: &Driver) {
        let Ok(stats) = self.runtime.stats(&driver.id).await else {
            return;
        };
        let noted = self.store.note_memory(&driver.id, stats.memory_bytes).await;
        if let Err(error) = noted {
            tracing::warn!(sandbox.id = %driver.id, %error, "cannot note what a sandbox used");
        }
    }

    /// Looks at the host's memory, and makes room when it gets short, until the server stops.
    pub(crate) async fn watch_memory(self: Arc<Self>) {
        let mut level = Level::Calm;
        let shutdown = self.shutdown.clone();
        loop {
            level = Level::of(self.admission.reading(), level);
            if level > Level::Calm {
                let _relief = self.relief.lock().await;
                let residents = self.residents().await;
                self.take(level, &residents).await;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// All sandboxes that have memory.
    async fn residents(&self) -> Vec<Resident> {
        let mut residents = Vec::new();
        for driver in self.drivers.all() {
            let Some(class) = class_of(&driver.inner()) else {
                continue;
            };
            // One that ends while it is looked at has no memory any more.
            let Ok(stats) = self.runtime.stats(&driver.id).await else {
                continue;
            };
            let inner = driver.inner();
            residents.push(Resident {
                id: driver.id.clone(),
                class,
                last_used: inner.last_used,
                memory: stats.memory_bytes,
                is_reclaimed: inner.is_reclaimed,
            });
        }
        residents
    }

    /// Takes steps until one has helped; answers whether one has. Those who cannot be touched just now are passed over.
    async fn take(self: &Arc<Self>, level: Level, residents: &[Resident]) -> bool {
        let mut left = residents.to_vec();
        while let Some(step) = next(level, &left) {
            let (id, has_helped) = match step {
                Step::Reclaim(id) => {
                    let has_helped = self.reclaim(&id).await;
                    if let Some(one) = left.iter_mut().find(|one| one.id == id) {
                        one.is_reclaimed = true;
                    }
                    (None, has_helped)
                }
                Step::Stop(id, class) => {
                    let has_helped = self.give_way(&id, class).await;
                    (Some(id), has_helped)
                }
            };
            if has_helped {
                return true;
            }
            if let Some(id) = id {
                left.retain(|one| one.id != id);
            }
        }
        false
    }

    /// Has the kernel take from a frozen sandbox what can be had again.
    async fn reclaim(&self, id: &glass_types::SandboxId) -> bool {
        let Some(driver) = self.drivers.get(id) else {
            return false;
        };
        let Some(_turn) = driver.try_turn() else {
            return false;
        };
        if driver.inner().state != SandboxState::Frozen {
            return false;
        }
        driver.inner().is_reclaimed = true;
        match self.runtime.reclaim(id).await {
            Ok(0) => false,
            Ok(bytes) => {
                tracing::info!(sandbox.id = %id, bytes, "memory of a frozen sandbox was reclaimed");
                self.metrics.demotion("reclaim", Class::Frozen.as_str());
                true
            }
            Err(error) => {
                tracing::warn!(sandbox.id = %id, %error, "memory of a frozen sandbox cannot be reclaimed");
                false
            }
        }
    }

    /// Stops a sandbox because memory is short, if it still is needed no more than it was.
    async fn give_way(self: &Arc<Self>, id: &glass_types::SandboxId, class: Class) -> bool {
        let Some(driver) = self.drivers.get(id) else {
            return false;
        };
        let Some(_turn) = driver.try_turn() else {
            return false;
        };
        {
            // Decided and closed under one lock: a use that comes now wakes it again, and waits for us.
            let mut inner = driver.inner();
            if class_of(&inner).is_none_or(|now| now > class) {
                return false;
            }
            inner.is_open = false;
        }
        self.note_memory(&driver).await;
        match self.stop_for_room(&driver, class).await {
            Ok(()) => {
                self.metrics.demotion("stop", class.as_str());
                true
            }
            Err(ApiError(problem)) => {
                tracing::warn!(sandbox.id = %id, error = %problem.detail, "a sandbox could not give way");
                false
            }
        }
    }

    async fn stop_for_room(&self, driver: &Driver, class: Class) -> Result<(), ApiError> {
        let state = driver.inner().state;
        let stopped = state.after(Transition::Stop)?;
        let (grace, reason) = match class {
            Class::Frozen | Class::Idle => (GRACE, None),
            Class::Active => (
                HURRY,
                Some("it was stopped because the host's memory is scarce"),
            ),
            Class::Turn => (
                HURRY,
                Some(
                    "it was stopped in an emergency: the host had no memory left; its task goes on when there is room",
                ),
            ),
        };
        if class >= Class::Active {
            tracing::warn!(sandbox.id = %driver.id, class = class.as_str(), "a sandbox in use is stopped for want of memory");
        }
        let data = json!({ "why": "memory", "class": class.as_str() });
        let shift = Shift {
            reason: reason.map(str::to_owned),
            ..move_of(driver, state, stopped)
        };
        self.shift(driver, shift.telling(event("stopped", data)))
            .await?;
        driver.detach(Down::GaveWay);
        let stopped = self.runtime.stop(&driver.id, grace);
        match self.metrics.timed(Operation::Stop, stopped).await {
            Ok(()) | Err(RuntimeError::Unknown(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How much a sandbox needs its memory now; nothing when it has none, or somebody changes it.
fn class_of(inner: &Inner) -> Option<Class> {
    match inner.state {
        SandboxState::Frozen => Some(Class::Frozen),
        SandboxState::Running if inner.uses[UseKind::Turn as usize] > 0 => Some(Class::Turn),
        SandboxState::Running => {
            let is_kept = inner
                .keepalive_until
                .is_some_and(|until| until > clock::now());
            let is_active = inner.is_in_use() || inner.policy.always_on || is_kept;
            Some(if is_active {
                Class::Active
            } else {
                Class::Idle
            })
        }
        SandboxState::Creating
        | SandboxState::Stopped
        | SandboxState::Archived
        | SandboxState::Failed
        | SandboxState::Destroying => None,
    }
}

fn no_room(shortage: Shortage) -> Problem {
    let mib = |bytes: u64| bytes >> 20;
    let detail = format!(
        "the host has not enough free memory: {} MiB are needed, and {} MiB can be given",
        mib(shortage.needed),
        mib(shortage.free)
    );
    Problem::new(Code::LowMemory, detail)
        .with_remedy("stop sandboxes that nobody needs (`glasshouse ps`), or come back later")
        .with_retry_after(TRY_AGAIN)
}
