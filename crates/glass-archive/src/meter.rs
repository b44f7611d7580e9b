//! How far the work is, told now and then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::Progress;

/// Who is told.
pub(crate) type Listener = Arc<dyn Fn(Progress) + Send + Sync>;

/// It is told after so many bytes.
const STEP: u64 = 4 << 20;

/// Counts bytes; several threads may.
#[derive(Clone)]
pub(crate) struct Meter {
    listener: Listener,
    total: u64,
    done: Arc<AtomicU64>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

impl Meter {
    pub(crate) fn new(listener: Listener, total: u64) -> Self {
        let meter = Self {
            listener,
            total,
            done: Arc::default(),
        };
        meter.tell(0);
        meter
    }

    pub(crate) fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let now = before.saturating_add(bytes);
        if now / STEP != before / STEP {
            self.tell(now);
        }
    }

    fn tell(&self, done: u64) {
        (self.listener)(Progress {
            done: done.min(self.total),
            total: self.total,
        });
    }
}
