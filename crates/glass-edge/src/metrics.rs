//! What an edge tells of itself.

use std::time::Duration;

/// Upper bounds of the buckets of a [`Histogram`], in seconds.
pub const LATENCY_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The same as durations, which compare without rounding.
pub(crate) const BUCKET_BOUNDS: [Duration; LATENCY_BUCKETS.len()] = {
    let mut bounds = [Duration::ZERO; LATENCY_BUCKETS.len()];
    let mut place = 0;
    while place < bounds.len() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small positive constants"
        )]
        let micros = (LATENCY_BUCKETS[place] * 1_000_000.0 + 0.5) as u64;
        bounds[place] = Duration::from_micros(micros);
        place += 1;
    }
    bounds
};

/// What an edge has done since it was made. Requests are those to previews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeMetrics {
    /// Requests that an app answered at once, by the time until the head of the answer.
    pub proxied: Histogram,
    /// Requests that an app answered after a wake or its own start, by the same time.
    pub held: Histogram,
    /// Requests that the edge answered itself: links whose pass became a cookie, and pages that follow a wake.
    pub own: u64,
    /// Browsers that got the page that waits.
    pub warming: u64,
    /// Requests that the client has to change: unknown host, no pass, a method that is not offered.
    pub refused: u64,
    /// Requests that failed through nothing that the client did.
    pub failed: u64,
    /// Tunnels that are open now.
    pub tunnels: u64,
    /// Visitors who wait for a sandbox or an app now.
    pub waiting: u64,
}

/// Durations by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// How many were at most as long as each bound of [`LATENCY_BUCKETS`].
    pub cumulative: [u64; LATENCY_BUCKETS.len()],
}
