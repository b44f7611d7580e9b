//! Pulls images from registries by the OCI distribution protocol.
//!
//! A small client over `reqwest` instead of crate `oci-client`: pulling is three kinds of GET, and this way layers
//! resume where a broken connection left them, and the errors can name what to do.

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod pull;
pub(crate) mod reference;

/// Who pulls.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name at the registry.
    pub username: String,
    /// The password, or a token that stands for it.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"…")
            .finish()
    }
}

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// For registries that want to know who asks.
    pub credentials: Option<Credentials>,
}

/// Why nothing was pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// It names no image of a registry.
    #[error("`{reference}` is not an image reference: {reason}")]
    Reference {
        /// What was given.
        reference: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nobody answers.
    #[error(
        "registry {registry} cannot be reached; check its name, the network and the proxy settings"
    )]
    Unreachable {
        /// Which.
        registry: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The registry does not have it.
    #[error("registry {registry} has no {what}; check name and tag")]
    NotFound {
        /// Which registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// The registry wants a login, or another one.
    #[error("registry {registry} does not let {who} pull {repository}; {remedy}")]
    Unauthorized {
        /// Which registry.
        registry: String,
        /// As whom it was tried.
        who: String,
        /// Which repository.
        repository: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The registry answers something else.
    #[error("registry {registry} answered {status} for {what}: {body}")]
    Status {
        /// Which.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
        /// The beginning of its answer.
        body: String,
    },
    /// The connection broke, also when tried again.
    #[error("download of {what} from registry {registry} broke off {attempts} times")]
    Broken {
        /// Which registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        source: reqwest::Error,
    },
}
