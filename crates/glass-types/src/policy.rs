//! When an idle sandbox goes to rest.
//!
//! Serializable like events are: the JSON form is what the table keeps and what the API sends.

use serde::{Deserialize, Serialize};

/// How long a sandbox is idle before something happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum After {
    /// Milliseconds.
    Ms(u64),
    /// It never does: the word `never`.
    Never(Never),
}

/// The word `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// `never`
    Never,
}

impl After {
    /// It never happens.
    pub const NEVER: Self = Self::Never(Never::Never);

    /// Whether so long an idle time is long enough.
    #[must_use]
    pub fn is_reached(self, idle_ms: u64) -> bool {
        match self {
            Self::Ms(limit) => idle_ms >= limit,
            Self::Never(_) => false,
        }
    }
}

/// What somebody wants of the idle policy. What is left out is the template's, then the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct IdleWish {
    /// Never rests, whatever else is said here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_on: Option<bool>,
    /// Idle milliseconds until its CPU is taken, or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze_after_ms: Option<After>,
    /// Idle milliseconds until its processes end, or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_after_ms: Option<After>,
    /// Idle milliseconds until its files go to the archive, or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_after_ms: Option<After>,
}

/// The idle policy in force. Idle times count from the last use, so each is meant to be longer than the one before it;
/// one that is not takes effect at once when the one before it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct IdlePolicy {
    /// Never rests.
    pub always_on: bool,
    /// Idle milliseconds until its CPU is taken.
    pub freeze_after_ms: After,
    /// Idle milliseconds until its processes end.
    pub stop_after_ms: After,
    /// Idle milliseconds until its files go to the archive.
    pub archive_after_ms: After,
}

impl Default for IdlePolicy {
    fn default() -> Self {
        const MINUTE: u64 = 60 * 1000;
        Self {
            always_on: false,
            freeze_after_ms: After::Ms(2 * MINUTE),
            stop_after_ms: After::Ms(30 * MINUTE),
            archive_after_ms: After::Ms(14 * 24 * 60 * MINUTE),
        }
    }
}

impl IdlePolicy {
    /// This policy with what somebody wants put over it.
    #[must_use]
    pub fn with(self, wish: IdleWish) -> Self {
        Self {
            always_on: wish.always_on.unwrap_or(self.always_on),
            freeze_after_ms: wish.freeze_after_ms.unwrap_or(self.freeze_after_ms),
            stop_after_ms: wish.stop_after_ms.unwrap_or(self.stop_after_ms),
            archive_after_ms: wish.archive_after_ms.unwrap_or(self.archive_after_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_says_milliseconds_or_never() {
        let wish: IdleWish =
            serde_json::from_str(r#"{"freeze_after_ms": 5000, "stop_after_ms": "never"}"#).unwrap();
        let policy = IdlePolicy::default().with(wish);
        assert_eq!(policy.freeze_after_ms, After::Ms(5000));
        assert_eq!(policy.stop_after_ms, After::NEVER);
        assert_eq!(
            policy.archive_after_ms,
            IdlePolicy::default().archive_after_ms
        );
        assert!(serde_json::from_str::<IdleWish>(r#"{"freeze_after_ms": "soon"}"#).is_err());
    }
}
