//! How long ago.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time since a moment in milliseconds since 1970, in one unit.
pub(crate) fn age(created_at: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(created_at);
    span(now.saturating_sub(created_at) / 1000)
}

/// A time in milliseconds, in one unit.
pub(crate) fn span_ms(ms: u64) -> String {
    span(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_is_enough() {
        for (seconds, text) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7200, "2h"),
            (90_000, "1d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
