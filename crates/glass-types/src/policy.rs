//! When an idle sandbox goes to rest.
//!
//! Serializable like events are: the JSON form is what the table keeps and what the API sends.

use serde::{Deserialize, Serialize};

use crate::{SandboxState, Transition};

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

    /// How many milliseconds, if it ever happens.
    #[must_use]
    pub fn ms(self) -> Option<u64> {
        match self {
            Self::Ms(ms) => Some(ms),
            Self::Never(_) => None,
        }
    }
}

/// A step of a sandbox towards rest, each deeper than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rest {
    /// Its CPU is taken.
    Freeze,
    /// Its processes end.
    Stop,
    /// Its files go to the archive.
    Archive,
}

impl Rest {
    /// Every step, the shallowest first.
    pub const ALL: [Self; 3] = [Self::Freeze, Self::Stop, Self::Archive];

    /// The change of state that it is.
    #[must_use]
    pub fn transition(self) -> Transition {
        match self {
            Self::Freeze => Transition::Freeze,
            Self::Stop => Transition::Stop,
            Self::Archive => Transition::Archive,
        }
    }

    /// The word for it, the same in API and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Stop => "stop",
            Self::Archive => "archive",
        }
    }

    /// Whether a sandbox in this state can take this step next.
    fn follows(self, state: SandboxState) -> bool {
        match self {
            Self::Freeze => state == SandboxState::Running,
            Self::Stop => matches!(state, SandboxState::Running | SandboxState::Frozen),
            Self::Archive => state == SandboxState::Stopped,
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

/// The idle policy in force. All idle times count from the last use. A sandbox that is to stop before it would freeze
/// does so; only one that has stopped is archived.
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
    /// After how many idle milliseconds a sandbox takes a step, if it ever does.
    #[must_use]
    pub fn after(self, step: Rest) -> Option<u64> {
        if self.always_on {
            return None;
        }
        match step {
            Rest::Freeze => self.freeze_after_ms,
            Rest::Stop => self.stop_after_ms,
            Rest::Archive => self.archive_after_ms,
        }
        .ms()
    }

    /// The step that a sandbox in this state takes next, and after how many idle milliseconds.
    #[must_use]
    pub fn next(self, state: SandboxState) -> Option<(Rest, u64)> {
        let steps = Rest::ALL.into_iter().filter(|step| step.follows(state));
        let timed = steps.filter_map(|step| Some((step, self.after(step)?)));
        // Of two at the same time the deeper one.
        timed.min_by_key(|(step, ms)| (*ms, std::cmp::Reverse(*step)))
    }

    /// The step that a sandbox in this state is to take now: the deepest of those whose time has come.
    #[must_use]
    pub fn due(self, state: SandboxState, idle_ms: u64) -> Option<Rest> {
        let steps = Rest::ALL.into_iter().filter(|step| step.follows(state));
        steps
            .filter(|step| self.after(*step).is_some_and(|ms| idle_ms >= ms))
            .max()
    }

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
    use proptest::prelude::*;

    use super::*;

    fn after() -> impl Strategy<Value = After> {
        prop_oneof![Just(After::NEVER), (0..1000_u64).prop_map(After::Ms)]
    }

    prop_compose! {
        fn policy()(
            always_on in prop::bool::weighted(0.1),
            freeze_after_ms in after(),
            stop_after_ms in after(),
            archive_after_ms in after(),
        ) -> IdlePolicy {
            IdlePolicy { always_on, freeze_after_ms, stop_after_ms, archive_after_ms }
        }
    }

    /// How deep a state is, told from the diagram alone.
    fn depth(state: SandboxState) -> usize {
        let order = ["running", "frozen", "stopped", "archived"];
        order
            .iter()
            .position(|word| *word == state.as_str())
            .unwrap()
    }

    proptest! {
        #[test]
        fn idle_time_only_ever_leads_down_and_ends(policy in policy(), idle in 0..2000_u64) {
            let mut state = SandboxState::Running;
            for _ in 0..4 {
                let Some(step) = policy.due(state, idle) else { break };
                let next = state.after(step.transition()).unwrap();
                prop_assert!(depth(next) > depth(state));
                prop_assert!(policy.after(step).unwrap() <= idle);
                state = next;
            }
            prop_assert_eq!(policy.due(state, idle), None);
            prop_assert!(!policy.always_on || state == SandboxState::Running);
        }

        #[test]
        fn what_is_announced_is_what_comes(policy in policy(), state in prop::sample::select(&SandboxState::ALL[..])) {
            match policy.next(state) {
                Some((step, ms)) => {
                    prop_assert_eq!(policy.due(state, ms), Some(step));
                    prop_assert!(ms == 0 || policy.due(state, ms - 1).is_none());
                }
                None => prop_assert_eq!(policy.due(state, u64::MAX), None),
            }
        }
    }

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
