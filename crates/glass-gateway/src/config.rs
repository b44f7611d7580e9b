//! Where the providers are and what opens them.

use std::fmt;

use crate::EgressConfig;

/// The providers that have a credential. A provider without one is played by the demo model.
#[derive(Debug, Clone, Default)]
pub struct GatewayConfig {
    /// Speaks the Messages protocol of Anthropic.
    pub anthropic: Option<Upstream>,
    /// Speaks the Chat Completions and Responses protocols of OpenAI.
    pub openai: Option<Upstream>,
    /// What sandboxes reach besides models.
    pub egress: EgressConfig,
}

/// A provider and the real credential for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// With or without a trailing `/v1`: `https://api.anthropic.com`.
    pub base_url: String,
    /// The real key, which never enters a sandbox.
    pub key: String,
}

impl Upstream {
    /// `base_url` without trailing slashes and without `/v1`, which every path of the protocols begins with.
    pub(crate) fn root(&self) -> &str {
        let url = self.base_url.trim_end_matches('/');
        url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/')
    }
}

impl fmt::Debug for Upstream {
    /// Leaves the key out, so that no log can hold it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base_url", &self.base_url)
            .field("key", &"(hidden)")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_hides_the_key() {
        let upstream = Upstream {
            base_url: "https://models.test".into(),
            key: "sk-real".into(),
        };
        let config = GatewayConfig {
            anthropic: Some(upstream),
            ..GatewayConfig::default()
        };
        assert!(!format!("{config:?}").contains("sk-real"));
    }

    #[test]
    fn the_root_ends_before_v1() {
        for given in ["http://h", "http://h/", "http://h/v1", "http://h/v1/"] {
            let upstream = Upstream {
                base_url: given.into(),
                key: String::new(),
            };
            assert_eq!(upstream.root(), "http://h", "{given}");
        }
    }
}
