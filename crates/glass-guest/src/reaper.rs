//! Every child's end, also of the ones that nobody here started: as pid 1 we inherit all orphans.
//!
//! The standard library waits for a child whose `exec` failed, so a reaper beside it would take that end away. One lock
//! covers starting and reaping: while a child is being started nothing is reaped, and when the lock is free every child
//! of ours is in the table.
#![expect(unsafe_code, reason = "waitpid fills in a status")]

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Knows the children that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    waiting: Mutex<HashMap<i32, oneshot::Sender<i32>>>,
}

impl Reaper {
    /// Starts a child. The receiver gets its wait status.
    pub(crate) fn spawn(
        &self,
        command: &mut Command,
    ) -> io::Result<(Child, oneshot::Receiver<i32>)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let (sender, receiver) = oneshot::channel();
        waiting.insert(child.id().cast_signed(), sender);
        Ok((child, receiver))
    }

    /// Reaps for ever.
    pub(crate) async fn run(&self) -> io::Result<()> {
        let mut ended = signal(SignalKind::child())?;
        loop {
            self.reap();
            ended.recv().await;
        }
    }

    fn reap(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if let Some(sender) = waiting.remove(&pid) {
                // Nobody listens to a process that was given up.
                let _ = sender.send(status);
            }
        }
    }
}
