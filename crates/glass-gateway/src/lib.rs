//! The model proxy: what a sandbox's agents talk to instead of a provider.
//!
//! A request comes in on the socket of one sandbox with that sandbox's token, leaves with the real credential, and the
//! answer is streamed back byte for byte. Where no credential is configured, the built-in demo model answers.
#![deny(missing_docs)]

use async_trait::async_trait;
use glass_types::SandboxId;

/// Who holds a sandbox token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The sandbox that the token was made for.
    pub sandbox: SandboxId,
}

/// What the gateway asks of the server.
#[async_trait]
pub trait Tokens: Send + Sync + 'static {
    /// Whose token this is, `None` when nobody's.
    async fn resolve(&self, token: &str) -> anyhow::Result<Option<Caller>>;
}
