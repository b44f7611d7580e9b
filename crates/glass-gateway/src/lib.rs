//! The model proxy: what a sandbox's agents talk to instead of a provider.
//!
//! A request comes in on the socket of one sandbox with that sandbox's token, leaves with the real credential, and the
//! answer is streamed back byte for byte. Where no credential is configured, the built-in demo model answers.
//!
//! ```text
//! agent ───► unix socket of the sandbox ─► serve ─┬─► handle: token? route? ─┬─► forward ─► provider
//! program ─►                                      │                          └─► demo
//!                                                 └─► egress: public? ─► the internet
//! ```
//!
//! The same socket is the HTTP proxy of the sandbox's other programs, and their only way out.
//!
//! Nothing here keeps state between requests; a restart of the gateway costs the requests and tunnels in flight and
//! nothing else.
#![deny(missing_docs)]

mod body;
mod config;
mod demo;
mod egress;
mod forward;
mod gateway;
mod handle;
mod peek;
mod protocol;
mod refusal;
mod route;
mod serve;
mod usage;

use async_trait::async_trait;
use glass_types::SandboxId;

pub use config::{GatewayConfig, Upstream};
pub use egress::{
    EgressConfig, EgressControl, EgressCounts, EgressRefusal, EgressSink, HostPattern,
    HostPatternError, NoEgressSink,
};
pub use gateway::{Gateway, GatewayError, ModelView, ProviderView};
pub use protocol::Protocol;
pub use refusal::Refusal;
pub use usage::{NoUsage, Usage, UsageSink};

/// The id of the demo model, in every protocol.
pub const DEMO_MODEL: &str = "demo";

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
