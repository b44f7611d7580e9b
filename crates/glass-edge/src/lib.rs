//! The one listener: host router and reverse proxy.
//!
//! `<port>-<sandbox>.preview.<domain>` goes to that port of that sandbox, all other hosts to the server's own routes.
//! The edge knows neither database nor runtime: it asks through [`Origins`].
#![deny(missing_docs)]

mod body;
mod config;
mod edge;
mod headers;
mod page;
mod pool;
mod proxy;
mod route;
mod serve;
mod sniff;

pub use config::EdgeConfig;
pub use edge::{ClientAddr, Edge};
pub use route::{BadHost, Route, route};
pub use serve::Drained;

use async_trait::async_trait;
use glass_types::SandboxId;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to an app in a sandbox.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a preview cannot be shown. A refusal that becomes a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No such sandbox.
    #[error("sandbox {0} was not found")]
    UnknownSandbox(String),
    /// It is stopped, failed or being removed; `state` says which.
    #[error("sandbox {sandbox} is {state}")]
    NotRunning {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Its state as a word.
        state: String,
    },
    /// Nothing listens there.
    #[error("port is not open: nothing listens on port {port} in sandbox {sandbox}")]
    PortClosed {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Which port.
        port: u16,
        /// Ports that are open.
        open: Vec<u16>,
    },
    /// Something on our side failed.
    #[error("the sandbox could not be reached: {0}")]
    Failed(String),
}

/// What the edge asks of the server.
#[async_trait]
pub trait Origins: Send + Sync + 'static {
    /// A new connection to a port of a sandbox. Called once per connection of the pool, so also while a page loads.
    async fn connect(&self, sandbox: &SandboxId, port: u16)
    -> Result<Box<dyn Stream>, Unreachable>;
}
