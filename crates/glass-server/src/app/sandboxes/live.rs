//! What this process holds of sandboxes, besides their rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glass_types::SandboxId;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Locks and attachments, by sandbox. An entry lives as long as somebody changes the sandbox or it is attached, so ids
/// that are no sandbox's leave nothing behind.
#[derive(Default)]
pub(super) struct Live(Mutex<HashMap<SandboxId, Entry>>);

#[derive(Default)]
struct Entry {
    /// Held during every change of its state.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Ends the tasks that serve its gateway and wait for its exit.
    attached: Option<CancellationToken>,
}

/// The right to change a sandbox's state. One at a time.
pub(super) struct Turn {
    live: Arc<Live>,
    id: SandboxId,
    lock: Arc<tokio::sync::Mutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Live {
    /// Waits for one's turn to change a sandbox.
    pub(super) async fn turn(self: &Arc<Self>, id: &SandboxId) -> Turn {
        let mut turn = self.queue(id);
        turn.guard = Some(Arc::clone(&turn.lock).lock_owned().await);
        turn
    }

    /// The turn, if nobody has it.
    pub(super) fn try_turn(self: &Arc<Self>, id: &SandboxId) -> Option<Turn> {
        let mut turn = self.queue(id);
        turn.guard = Some(Arc::clone(&turn.lock).try_lock_owned().ok()?);
        Some(turn)
    }

    fn queue(self: &Arc<Self>, id: &SandboxId) -> Turn {
        let lock = Arc::clone(&self.entries().entry(id.clone()).or_default().lock);
        Turn {
            live: Arc::clone(self),
            id: id.clone(),
            lock,
            guard: None,
        }
    }

    /// Notes what ends the tasks of a sandbox; ends those before.
    pub(super) fn attach(&self, id: &SandboxId, token: CancellationToken) {
        let before = self
            .entries()
            .entry(id.clone())
            .or_default()
            .attached
            .replace(token);
        if let Some(before) = before {
            before.cancel();
        }
    }

    /// Ends the tasks of a sandbox.
    pub(super) fn detach(&self, id: &SandboxId) {
        let token = self
            .entries()
            .get_mut(id)
            .and_then(|entry| entry.attached.take());
        if let Some(token) = token {
            token.cancel();
        }
    }

    /// Cancelled when the sandbox is detached; `None` when it is not attached.
    pub(super) fn attached(&self, id: &SandboxId) -> Option<CancellationToken> {
        self.entries()
            .get(id)
            .and_then(|entry| entry.attached.clone())
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<SandboxId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut entries = self.live.entries();
        // One count is the map's, one is ours; those who wait have more, and cannot come while the map is locked.
        let idle = entries
            .get(&self.id)
            .is_some_and(|entry| entry.attached.is_none() && Arc::strong_count(&entry.lock) == 2);
        if idle {
            entries.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_take_turns_and_leave_nothing() {
        let live = Arc::new(Live::default());
        let id = SandboxId::random();
        let first = live.turn(&id).await;
        assert!(live.try_turn(&id).is_none());
        let second = tokio::spawn({
            let (live, id) = (Arc::clone(&live), id.clone());
            async move { live.turn(&id).await }
        });
        drop(first);
        drop(second.await.unwrap());
        assert!(live.entries().is_empty());
    }

    #[tokio::test]
    async fn an_attached_sandbox_is_kept_until_it_is_detached() {
        let live = Arc::new(Live::default());
        let id = SandboxId::random();
        let token = CancellationToken::new();
        let turn = live.turn(&id).await;
        live.attach(&id, token.clone());
        drop(turn);
        assert!(live.attached(&id).is_some());
        let turn = live.turn(&id).await;
        live.detach(&id);
        assert!(token.is_cancelled());
        drop(turn);
        assert!(live.entries().is_empty());
    }

    #[tokio::test]
    async fn one_who_gives_up_waiting_leaves_nothing() {
        let live = Arc::new(Live::default());
        let id = SandboxId::random();
        let first = live.turn(&id).await;
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, live.turn(&id)).await;
        assert!(waiting.is_err());
        drop(first);
        assert!(live.entries().is_empty());
    }
}
