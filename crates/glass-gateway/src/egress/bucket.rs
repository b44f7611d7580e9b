//! How fast bytes may pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What was not used this long ago may be used at once.
const BURST: Duration = Duration::from_millis(100);
/// What passes at once, at the most and at the least.
const MOST: u64 = 32 * 1024;
const LEAST: u64 = 1024;

/// A rate that all connections of a sandbox share. Whoever wants to pass bytes is told when the next may, in the order
/// of asking, so no connection can keep the others waiting.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes per second; 0 does not limit.
    rate: AtomicU64,
    /// When all that was passed so far would have been, had it kept to the rate.
    paid_until: Mutex<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate: AtomicU64::new(rate),
            paid_until: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// How many bytes are to pass at once.
    pub(super) fn piece(&self) -> usize {
        let rate = self.rate.load(Ordering::Relaxed);
        let piece = match rate {
            0 => MOST,
            rate => (rate / 20).clamp(LEAST, MOST),
        };
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// Notes that so many bytes passed. The next pass at the time in the answer; at once when there is none.
    pub(super) fn passed(&self, bytes: usize) -> Option<Instant> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return None;
        }
        let now = Instant::now();
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        let cost = Duration::from_nanos(
            u64::try_from(
                u128::try_from(bytes).unwrap_or(u128::MAX) * 1_000_000_000 / u128::from(rate),
            )
            .unwrap_or(u64::MAX),
        );
        let mut paid_until = self
            .paid_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let until = (*paid_until).max(oldest) + cost;
        *paid_until = until;
        (until > now).then_some(until)
    }
}
