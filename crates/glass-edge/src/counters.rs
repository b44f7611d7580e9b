//! What the edge has done, counted as it does it.
//!
//! Plain atomics without order between them: a snapshot may be off by the requests of that very moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::metrics::{BUCKET_BOUNDS, EdgeMetrics, Histogram, LATENCY_BUCKETS};

/// How a request to a preview ended, as far as the edge is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An app answered, at once.
    Proxied,
    /// An app answered after its sandbox was woken or the app has started.
    Held,
    /// The edge answered: a link's pass became a cookie, a page that waits began to follow.
    Own,
    /// A browser got the page that waits.
    Warming,
    /// The client is to change something: host, pass, method.
    Refused,
    /// It is not the client's fault.
    Failed,
}

/// The counters of an edge. Clones are the same counters.
#[derive(Debug, Clone, Default)]
pub struct EdgeCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    proxied: Times,
    held: Times,
    own: AtomicU64,
    warming: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    tunnels: AtomicU64,
    waiting: AtomicU64,
}

impl EdgeCounters {
    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> EdgeMetrics {
        let counters = &self.0;
        EdgeMetrics {
            proxied: counters.proxied.snapshot(),
            held: counters.held.snapshot(),
            own: counters.own.load(Relaxed),
            warming: counters.warming.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            tunnels: counters.tunnels.load(Relaxed),
            waiting: counters.waiting.load(Relaxed),
        }
    }

    pub(crate) fn count(&self, outcome: Outcome, took: Duration) {
        let counter = match outcome {
            Outcome::Proxied => return self.0.proxied.record(took),
            Outcome::Held => return self.0.held.record(took),
            Outcome::Own => &self.0.own,
            Outcome::Warming => &self.0.warming,
            Outcome::Refused => &self.0.refused,
            Outcome::Failed => &self.0.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// A tunnel, as long as the guard lives.
    pub(crate) fn tunnel(&self) -> Gauge<'_> {
        Gauge::raise(&self.0.tunnels)
    }

    /// Somebody who waits for a sandbox or an app, as long as the guard lives.
    pub(crate) fn waiting(&self) -> Gauge<'_> {
        Gauge::raise(&self.0.waiting)
    }
}

/// Something that goes on.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn raise(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Durations by bucket. The last one has no upper bound.
#[derive(Debug, Default)]
struct Times {
    buckets: [AtomicU64; LATENCY_BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Times {
    fn record(&self, took: Duration) {
        let bucket = BUCKET_BOUNDS.partition_point(|bound| *bound < took);
        self.buckets[bucket].fetch_add(1, Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
    }

    fn snapshot(&self) -> Histogram {
        let mut below = 0;
        let buckets = self.buckets.each_ref().map(|bucket| {
            below += bucket.load(Relaxed);
            below
        });
        Histogram {
            count: below,
            sum: Duration::from_micros(self.micros.load(Relaxed)),
            cumulative: std::array::from_fn(|place| buckets[place]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_its_bucket_and_all_above() {
        let counters = EdgeCounters::default();
        for millis in [0, 1, 2, 700, 60_000] {
            counters.count(Outcome::Proxied, Duration::from_millis(millis));
        }
        let Histogram {
            count,
            sum,
            cumulative,
        } = counters.snapshot().proxied;
        assert_eq!((count, sum), (5, Duration::from_millis(60_703)));
        let at = |seconds: f64| {
            let place = LATENCY_BUCKETS.iter().position(|bound| *bound == seconds);
            cumulative[place.unwrap()]
        };
        assert_eq!(
            [at(0.001), at(0.0025), at(0.5), at(1.0), at(30.0)],
            [2, 3, 3, 4, 4]
        );
        assert_eq!(counters.snapshot().held.count, 0);
    }

    #[test]
    fn what_goes_on_is_counted_while_it_does() {
        let counters = EdgeCounters::default();
        let tunnel = counters.tunnel();
        assert_eq!(counters.snapshot().tunnels, 1);
        drop(tunnel);
        assert_eq!(counters.snapshot().tunnels, 0);
    }
}
