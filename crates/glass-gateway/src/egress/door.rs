//! What one sandbox may use of the way out.

use std::fmt;
use std::sync::Arc;

use glass_types::SandboxId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Connections that a sandbox may have to the outside.
pub(crate) const CONNECTIONS: usize = 128;
/// Lookups of one sandbox at the same time, so that it leaves some to the others.
const LOOKUPS: usize = 16;

/// The sandbox that asks, and its share. Clones are the same door.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) sandbox: SandboxId,
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
    pub(crate) fn open(sandbox: SandboxId) -> (Self, Doorkeeper) {
        let (tunnels, closed) = (TaskTracker::new(), CancellationToken::new());
        let keeper = Doorkeeper {
            tunnels: tunnels.clone(),
            closed: closed.clone().drop_guard(),
        };
        let door = Self {
            sandbox,
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
            .finish_non_exhaustive()
    }
}
