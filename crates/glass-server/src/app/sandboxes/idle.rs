//! Idle policies: one sweep over all drivers decides whose idle time is long enough for its next rest.
//!
//! The sweep asks neither the database nor the runtime; it takes each driver's lock for a moment. A decision is made and
//! the door is closed under that lock, so a use that comes then finds it closed and waits until it can be woken.

use std::sync::Arc;
use std::time::Duration;

use glass_store::Millis;
use glass_types::{Rest, SandboxId, SandboxState};
use tokio::sync::Semaphore;

use super::Sandboxes;
use super::driver::{Driver, Inner, Turn};
use super::rest::Why;
use super::wake::ongoing;
use crate::clock;

/// The longest time between two sweeps, and so the longest that a rest comes late.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// The shortest, however short a policy is.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// How old the row's idea of the last use may become.
const NOTE_EVERY: Millis = 60 * 1000;
/// How many are frozen or stopped at once.
const AT_ONCE: usize = 8;
/// How many are archived at once: as many as the archive works on.
const ARCHIVES_AT_ONCE: usize = 2;

impl Inner {
    /// When it was used last: now, if it is in use.
    pub(super) fn last_used(&self, now: Millis) -> Millis {
        if self.uses.iter().any(|count| *count > 0) {
            now
        } else {
            self.last_used
        }
    }

    /// The step towards rest that comes next, and when, on the steady clock, if nobody uses it before.
    pub(super) fn next_rest(&self, now: Millis, can_archive: bool) -> Option<(Rest, Millis)> {
        let (step, after) = self.policy.next(self.state)?;
        if step == Rest::Archive && !can_archive {
            return None;
        }
        let idle_enough = self.last_used(now).saturating_add_unsigned(after);
        Some((step, idle_enough.max(self.kept_awake_until(now))))
    }

    /// The keepalive is a time of the wall clock, as its owner gave it.
    fn kept_awake_until(&self, now: Millis) -> Millis {
        let left = self
            .keepalive_until
            .map_or(0, |until| until.saturating_sub(clock::now()).max(0));
        now.saturating_add(left)
    }

    /// What it is to do now, or when to look again.
    fn verdict(&self, now: Millis, can_archive: bool) -> Verdict {
        let is_busy = self.is_in_use() || ongoing(self.wake.as_ref()).is_some();
        let Some((_, at)) = self.next_rest(now, can_archive).filter(|_| !is_busy) else {
            return Verdict::Nothing;
        };
        let at = at.max(self.rests.until());
        if at > now {
            return Verdict::At(at);
        }
        let idle = u64::try_from(now - self.last_used).unwrap_or(0);
        // Deeper steps whose time has come as well are taken instead: whoever was away for a day is stopped, not frozen.
        match self.policy.due(self.state, idle) {
            Some(step) => Verdict::Now(step),
            None => Verdict::Nothing,
        }
    }
}

/// How many are put to rest at once.
struct Slots {
    rests: Arc<Semaphore>,
    /// Archiving takes long, and nothing else is to wait for it.
    archives: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            rests: Arc::new(Semaphore::new(AT_ONCE)),
            archives: Arc::new(Semaphore::new(ARCHIVES_AT_ONCE)),
        }
    }
}

impl Slots {
    fn of(&self, step: Rest) -> &Arc<Semaphore> {
        match step {
            Rest::Freeze | Rest::Stop => &self.rests,
            Rest::Archive => &self.archives,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Nothing,
    At(Millis),
    Now(Rest),
}

impl Sandboxes {
    /// Puts to rest what is idle for long enough, for as long as the server runs.
    pub(crate) async fn keep_idle_policies(self: &Arc<Self>) {
        let slots = Slots::default();
        loop {
            let now = clock::steady();
            let next = self.sweep(now, &slots);
            self.note_uses(now, NOTE_EVERY).await;
            let pause = u64::try_from(next - now).map_or(SWEEP_PAUSE, Duration::from_millis);
            tokio::time::sleep(pause.clamp(SWEEP_PAUSE, SWEEP_EVERY)).await;
            // Who found none is due already, and nothing is to be found out before one is free.
            drop(slots.rests.acquire().await);
        }
    }

    /// Looks at every sandbox once. Answers when to look again.
    fn sweep(self: &Arc<Self>, now: Millis, slots: &Slots) -> Millis {
        let mut next = Millis::MAX;
        for driver in self.drivers.all() {
            let step = match driver.inner().verdict(now, self.runtime.has_disks()) {
                Verdict::Nothing => continue,
                Verdict::At(at) => {
                    next = next.min(at);
                    continue;
                }
                Verdict::Now(step) => step,
            };
            let Ok(slot) = Arc::clone(slots.of(step)).try_acquire_owned() else {
                continue;
            };
            // Somebody changes it just now, and may well use it after that.
            let Some(turn) = driver.try_turn() else {
                continue;
            };
            let Some(step) = close(&driver, now, self.runtime.has_disks()) else {
                continue;
            };
            let this = Arc::clone(self);
            self.tracker.spawn(async move {
                this.rest_idle(&driver, &turn, step).await;
                drop((turn, slot));
            });
        }
        next
    }

    async fn rest_idle(self: &Arc<Self>, driver: &Arc<Driver>, turn: &Turn, step: Rest) {
        // What went wrong is logged, told to the owner and tried again later.
        drop(self.rest(driver, turn, step, Why::Idle).await);
    }

    /// Writes down when sandboxes were used last, where the row's idea of it is older than this.
    pub(crate) async fn note_uses(&self, now: Millis, older_than: Millis) {
        let mut uses: Vec<(SandboxId, Millis)> = Vec::new();
        for driver in self.drivers.all() {
            let mut inner = driver.inner();
            let used = inner.last_used(now);
            let is_there = match inner.state {
                SandboxState::Creating | SandboxState::Destroying => false,
                SandboxState::Running
                | SandboxState::Frozen
                | SandboxState::Stopped
                | SandboxState::Archived
                | SandboxState::Failed => true,
            };
            if is_there && used > inner.noted && used - inner.noted >= older_than {
                inner.noted = used;
                uses.push((driver.id.clone(), used));
            }
        }
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.store.note_uses(&uses).await {
            // A minute later there is another chance; until then the row says less than it could.
            tracing::warn!(%error, "cannot note when sandboxes were used last");
        }
    }
}

/// Decides and closes the door in one: whoever comes later finds it closed and wakes the sandbox after the rest.
fn close(driver: &Driver, now: Millis, can_archive: bool) -> Option<Rest> {
    let mut inner = driver.inner();
    match inner.verdict(now, can_archive) {
        Verdict::Now(step) => {
            inner.is_open = false;
            Some(step)
        }
        Verdict::Nothing | Verdict::At(_) => None,
    }
}
