//! What a sandbox may reach outside.
//!
//! Serializable like events are: the JSON form is what the table keeps.

mod host;
mod rule;

use serde::{Deserialize, Serialize};

pub use host::{Host, HostError};
pub use rule::{EgressRule, EgressRuleError};

/// What a sandbox may reach. Whatever it says, only public addresses are connected to, and the operator's exceptions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum EgressPolicy {
    /// The internet.
    #[default]
    Open,
    /// What a rule names, and nothing else.
    Allowlist {
        /// One that permits is enough.
        rules: Vec<EgressRule>,
    },
    /// Nothing.
    None,
}

impl EgressPolicy {
    /// Whether a connection to this port of the host is permitted.
    #[must_use]
    pub fn permits(&self, host: &Host, port: u16) -> bool {
        match self {
            Self::Open => true,
            Self::Allowlist { rules } => rules.iter().any(|rule| rule.permits(host, port)),
            Self::None => false,
        }
    }

    /// Whether some port of the host is permitted, so that its name may be asked for.
    #[must_use]
    pub fn knows(&self, host: &Host) -> bool {
        match self {
            Self::Open => true,
            Self::Allowlist { rules } => rules.iter().any(|rule| rule.names(host)),
            Self::None => false,
        }
    }

    /// Its rules as they are written; none but those of a list.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        match self {
            Self::Allowlist { rules } => rules.iter().map(ToString::to_string).collect(),
            Self::Open | Self::None => Vec::new(),
        }
    }

    /// Its mode as the word that the JSON form has.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Allowlist { .. } => "allowlist",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn the_json_form_comes_back() {
        let policy = EgressPolicy::Allowlist {
            rules: vec!["*.npmjs.org:443".parse().unwrap()],
        };
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, r#"{"mode":"allowlist","rules":["*.npmjs.org:443"]}"#);
        assert_eq!(serde_json::from_str::<EgressPolicy>(&json).unwrap(), policy);
        let open = serde_json::from_str::<EgressPolicy>(r#"{"mode":"open"}"#).unwrap();
        assert_eq!(open, EgressPolicy::Open);
    }

    #[test]
    fn names_are_known_whatever_the_port() {
        let policy = EgressPolicy::Allowlist {
            rules: vec!["db.example:5432".parse().unwrap()],
        };
        assert!(policy.knows(&host("db.example")));
        assert!(policy.permits(&host("db.example"), 5432));
        assert!(!policy.permits(&host("db.example"), 443));
        assert!(!policy.knows(&host("other.example")));
        assert!(!EgressPolicy::None.knows(&host("db.example")));
        assert!(EgressPolicy::Open.permits(&host("db.example"), 1));
    }
}
