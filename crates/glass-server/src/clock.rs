//! The clocks, in the unit of the API.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since 1970 UTC.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970 UTC as they were when first asked for, and steadily on from there: how long something is
/// idle must not change when somebody sets the host's clock.
pub(crate) fn steady() -> i64 {
    static BEGIN: OnceLock<(Instant, i64)> = OnceLock::new();
    let (begin, at) = BEGIN.get_or_init(|| (Instant::now(), now()));
    let since = i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX);
    at.saturating_add(since)
}
