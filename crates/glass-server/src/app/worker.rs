//! The worker of a sandbox: takes its open tasks one after another, for as long as there are any.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use glass_store::{Millis, TaskRow};
use glass_types::{EndReason, Event, SandboxId, TaskState};

use super::task_run::{self, Ending};
use super::tasks::Tasks;
use super::{Use, UseKind};
use crate::clock;

/// How long a worker waits before it tries again what the database would not do.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes a sandbox off the list of those that have a worker, also when the worker panics.
struct Leaving<'a> {
    tasks: &'a Tasks,
    sandbox: &'a SandboxId,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let workers = &self.tasks.workers;
        workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.sandbox);
    }
}

impl Tasks {
    /// Makes sure that a sandbox's open tasks have a worker.
    pub(super) fn wake(self: &Arc<Self>, sandbox: &SandboxId) {
        let workers = &self.workers;
        let is_first = workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sandbox.clone());
        if !is_first {
            return;
        }
        let (this, sandbox) = (Arc::clone(self), sandbox.clone());
        // From here on, not from when the worker gets to it: whoever may be about to put the sandbox to rest sees it.
        let held = self.sandboxes.hold(&sandbox, UseKind::Turn);
        self.tracker.spawn(async move {
            let leaving = Leaving {
                tasks: &this,
                sandbox: &sandbox,
            };
            // A worker that is dropped in the middle loses nothing: the rows say where to go on.
            if let Ok(held) = &held {
                tokio::select! {
                    () = this.work(&sandbox, held) => {}
                    () = this.shutdown.cancelled() => return,
                }
            }
            // The sandbox may have gone, with tasks that somebody watches.
            this.open.all_changed();
            drop(leaving);
            // A task may have come between the last look and the leaving; its submitter saw a worker and left it to us.
            let open = this.store.open_tasks_of(&sandbox).await;
            if open.is_ok_and(|tasks| !tasks.is_empty()) {
                this.wake(&sandbox);
            }
        });
    }

    async fn work(self: &Arc<Self>, sandbox: &SandboxId, held: &Use) {
        loop {
            match self.store.open_tasks_of(sandbox).await {
                Ok(tasks) => match tasks.into_iter().next() {
                    Some(task) => self.run(task, held).await,
                    None => break,
                },
                Err(error) => {
                    tracing::error!(sandbox.id = %sandbox, %error, "cannot read the tasks of a sandbox");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Works on one task until it has ended.
    async fn run(self: &Arc<Self>, task: TaskRow, held: &Use) {
        let hold = self.open.hold(&task.id);
        // Read again: a cancellation that came before the hold is in the row, one that comes after it reaches the hold.
        match self.store.task(&task.id).await {
            Ok(Some(task)) if !task.status.is_final() => {
                if task.cancel_requested {
                    hold.cancellation().cancel();
                }
                let ending = task_run::run(self, &task, held, hold.cancellation()).await;
                self.finish(&task, &ending).await;
                if let Some(at) = ending.stopped_at {
                    self.finish_waiting(&task.sandbox, &ending, at).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(task.id = %task.id, %error, "cannot read a task");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Ends the tasks that were waiting when the sandbox was stopped: who stops it does not want the next one to start
    /// it again. Later ones are meant to.
    async fn finish_waiting(&self, sandbox: &SandboxId, ending: &Ending, stopped_at: Millis) {
        let ending = Ending {
            reason: ending.reason,
            result: None,
            error: ending.error.clone(),
            stopped_at: None,
        };
        match self.store.open_tasks_of(sandbox).await {
            Ok(tasks) => {
                for task in tasks {
                    if task.created_at <= stopped_at {
                        self.finish(&task, &ending).await;
                    }
                }
            }
            Err(error) => {
                tracing::error!(sandbox.id = %sandbox, %error, "cannot read the tasks of a sandbox");
            }
        }
    }

    async fn finish(&self, task: &TaskRow, ending: &Ending) {
        let end = Event::End {
            reason: ending.reason,
            message: ending.error.clone(),
        };
        let status = match ending.reason {
            EndReason::Completed => TaskState::Succeeded,
            EndReason::Cancelled => TaskState::Cancelled,
            EndReason::Limit | EndReason::Refused | EndReason::Failed => TaskState::Failed,
        };
        let (result, error) = (ending.result.as_deref(), ending.error.as_deref());
        let finish =
            self.store
                .finish_task(&task.id, status, result, error, Some(&end), clock::now());
        if let Err(error) = finish.await {
            // The row stays open, so the worker comes back to it.
            tracing::error!(task.id = %task.id, %error, "cannot write the end of a task");
            tokio::time::sleep(PAUSE).await;
        }
        self.open.changed(&task.id);
    }
}
