//! What one sandbox may use of the way out.

use std::fmt;
use std::sync::Arc;

use std::sync::atomic::Ordering;

use glass_types::SandboxId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::control::{Counters, EgressControl};
use super::report::{self, EgressSink, Waiting};
use super::shaped::Shaped;

/// Connections that a sandbox may have to the outside.
pub(crate) const CONNECTIONS: usize = 128;
/// Lookups of one sandbox at the same time, so that it leaves some to the others.
const LOOKUPS: usize = 16;

/// The sandbox that asks, and its share. Clones are the same door.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) sandbox: SandboxId,
    pub(super) control: Arc<EgressControl>,
    totals: Arc<Counters>,
    sink: Arc<dyn EgressSink>,
    pub(super) waiting: Arc<Waiting>,
    connections: Arc<Semaphore>,
    pub(super) lookups: Arc<Semaphore>,
    tunnels: TaskTracker,
    closed: CancellationToken,
}

/// Cuts the tunnels of a door when it is dropped.
pub(crate) struct Doorkeeper {
    tunnels: TaskTracker,
    closed: DropGuard,
}

impl Door {
    pub(super) fn open(
        sandbox: SandboxId,
        control: Arc<EgressControl>,
        totals: Arc<Counters>,
        sink: Arc<dyn EgressSink>,
    ) -> (Self, Doorkeeper) {
        let (tunnels, closed) = (TaskTracker::new(), CancellationToken::new());
        let keeper = Doorkeeper {
            tunnels: tunnels.clone(),
            closed: closed.clone().drop_guard(),
        };
        let door = Self {
            sandbox,
            control,
            totals,
            sink,
            waiting: Arc::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            tunnels,
            closed,
        };
        (door, keeper)
    }

    /// Room for one connection; `None` when all is taken.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().ok()
    }

    /// A connection to the outside, with the bandwidth of this sandbox.
    pub(super) fn shaped<S>(&self, stream: S) -> Shaped<S> {
        Shaped::new(stream, self.control.clone(), self.totals.clone())
    }

    /// Logs a refusal. `asked`: whoever asked is still there, so the guest may find out who it is; the answer to it is
    /// to carry the number.
    pub(super) fn report(
        &self,
        host: &str,
        port: Option<u16>,
        rule: &'static str,
        asked: bool,
    ) -> Option<u64> {
        self.control
            .counters
            .refusals
            .fetch_add(1, Ordering::Relaxed);
        self.totals.refusals.fetch_add(1, Ordering::Relaxed);
        let refusal = report::refusal(&self.sandbox, host, port, rule);
        let Some((number, process)) = asked.then(|| self.waiting.number()).flatten() else {
            self.sink.refused(refusal);
            return None;
        };
        let (waiting, sink) = (self.waiting.clone(), self.sink.clone());
        self.tunnels
            .spawn(report::tell(waiting, number, process, refusal, sink));
        Some(number)
    }

    /// Runs a tunnel until it ends or the door is closed.
    pub(super) fn keep(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let closed = self.closed.clone();
        self.tunnels.spawn(async move {
            tokio::select! {
                () = tunnel => {}
                () = closed.cancelled() => {}
            }
        });
    }
}

impl Doorkeeper {
    /// Cuts all tunnels, and waits until they are gone.
    pub(crate) async fn close(self) {
        let Self { tunnels, closed } = self;
        drop(closed);
        tunnels.close();
        tunnels.wait().await;
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("sandbox", &self.sandbox)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
