//! What this process holds of tasks that somebody works on or watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glass_types::TaskId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Entries by task, each for as long as somebody holds it.
#[derive(Clone, Default)]
pub(super) struct OpenTasks(Arc<Mutex<HashMap<TaskId, Arc<Open>>>>);

struct Open {
    /// Changes whenever an event was stored or the task ended.
    changed: watch::Sender<u64>,
    /// Cancelled when somebody wants the task to end.
    cancel: CancellationToken,
}

/// A hold on a task.
pub(crate) struct Hold {
    tasks: OpenTasks,
    id: TaskId,
    open: Arc<Open>,
}

impl OpenTasks {
    /// Holds a task. Do so before reading its row or events, so that no change falls between.
    pub(super) fn hold(&self, id: &TaskId) -> Hold {
        let fresh = || {
            Arc::new(Open {
                changed: watch::Sender::new(0),
                cancel: CancellationToken::new(),
            })
        };
        let open = Arc::clone(self.entries().entry(id.clone()).or_insert_with(fresh));
        Hold {
            tasks: self.clone(),
            id: id.clone(),
            open,
        }
    }

    /// Tells those who hold a task that there is something new.
    pub(super) fn changed(&self, id: &TaskId) {
        if let Some(open) = self.entries().get(id) {
            open.changed.send_modify(|version| *version += 1);
        }
    }

    /// Tells everybody. For changes that are not of one task, such as the removal of a sandbox.
    pub(super) fn all_changed(&self) {
        for open in self.entries().values() {
            open.changed.send_modify(|version| *version += 1);
        }
    }

    /// Tells those who hold a task that somebody wants it to end.
    pub(super) fn cancel(&self, id: &TaskId) {
        if let Some(open) = self.entries().get(id) {
            open.cancel.cancel();
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Open>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Sees every change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.open.changed.subscribe()
    }

    /// Cancelled when somebody wants the task to end.
    pub(super) fn cancellation(&self) -> &CancellationToken {
        &self.open.cancel
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut entries = self.tasks.entries();
        // One count is the map's, one is ours; others cannot come while the map is locked.
        if Arc::strong_count(&self.open) == 2 {
            entries.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let tasks = OpenTasks::default();
        let id = TaskId::random();
        let worker = tasks.hold(&id);
        let watcher = tasks.hold(&id);
        let mut seen = watcher.subscribe();
        tasks.changed(&id);
        assert!(seen.has_changed().unwrap());
        seen.borrow_and_update();
        tasks.all_changed();
        assert!(seen.has_changed().unwrap());
        drop(watcher);
        tasks.cancel(&id);
        assert!(worker.cancellation().is_cancelled());
        drop(worker);
        assert!(tasks.entries().is_empty());
        tasks.changed(&id);
        tasks.cancel(&id);
        assert!(tasks.entries().is_empty());
    }
}
