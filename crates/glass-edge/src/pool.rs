//! Connections to apps that wait for their next request, newest first.
//!
//! A connection in the pool may have been closed by its app a moment ago. So only requests that can be repeated take
//! one; all others get a fresh connection and never meet a stale one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glass_types::SandboxId;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::body::ToApp;

/// One app: a port of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) sandbox: SandboxId,
    pub(crate) port: u16,
}

/// The unused connections of all apps.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<Origin>, Vec<Idle>>>,
    longest: Duration,
    per_origin: usize,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<ToApp>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(longest: Duration, per_origin: usize) -> Self {
        Self {
            idle: Mutex::default(),
            longest,
            per_origin,
        }
    }

    /// A connection that can take a request now.
    pub(crate) fn take(&self, origin: &Arc<Origin>) -> Option<SendRequest<ToApp>> {
        let now = Instant::now();
        let mut idle = self.lock();
        let waiting = idle.get_mut(origin)?;
        // One whose request body is still being sent is neither ready nor closed: it stays.
        let place = waiting
            .iter()
            .rposition(|one| one.sender.is_ready() && now - one.since < self.longest)?;
        let taken = waiting.remove(place);
        if waiting.is_empty() {
            idle.remove(origin);
        }
        Some(taken.sender)
    }

    fn put(&self, origin: Arc<Origin>, sender: SendRequest<ToApp>) {
        if sender.is_closed() {
            return;
        }
        let since = Instant::now();
        let mut idle = self.lock();
        let waiting = idle.entry(origin).or_default();
        if waiting.len() >= self.per_origin {
            waiting.remove(0);
        }
        waiting.push(Idle { sender, since });
    }

    /// Forgets connections that are closed or have waited too long. Called from time to time.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, waiting| {
            waiting.retain(|one| !one.sender.is_closed() && now - one.since < self.longest);
            !waiting.is_empty()
        });
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<Origin>, Vec<Idle>>> {
        // No code that holds the lock can leave the map half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use, with the way back into its pool.
pub(crate) struct Lease {
    pub(crate) pool: Arc<Pool>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) sender: SendRequest<ToApp>,
}

impl Lease {
    pub(crate) fn give_back(self) {
        self.pool.put(self.origin, self.sender);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
