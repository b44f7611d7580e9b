//! What the edge asks of the server.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use glass_types::SandboxId;
use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream to an app in a sandbox.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What keeps a sandbox awake as long as it is not dropped.
pub trait Held: Send + Sync {}
impl<T: Send + Sync> Held for T {}

/// What the edge asks of the server.
#[async_trait]
pub trait Origins: Send + Sync + 'static {
    /// Whether a visitor may see a port of a sandbox. `passes` are what the visitor shows, best first.
    ///
    /// Called for every request, before anything else is: it answers from memory, wakes nothing and counts as no use.
    fn admit(
        &self,
        sandbox: &SandboxId,
        port: u16,
        passes: &[&str],
    ) -> Result<Admission, Unreachable>;

    /// Begins a use of a sandbox, and wakes it if it rests. The use ends when what comes back is dropped.
    ///
    /// Called for every request that was admitted, whether or not there is a connection to its app already. Dropping
    /// the future gives up the use, not the wake. Of a sandbox that is awake it is ready when it is first polled.
    async fn enter(&self, sandbox: &SandboxId) -> Result<Box<dyn Held>, Unreachable>;

    /// How far the wake that goes on is, for people who wait. Ends with it.
    fn progress(&self, sandbox: &SandboxId) -> BoxStream<'static, Progress>;

    /// A new connection to a port of a sandbox that was entered. Called once per connection of the pool, so also while
    /// a page loads, and again and again while the app is [`Unreachable::AppStarting`].
    async fn connect(&self, sandbox: &SandboxId, port: u16)
    -> Result<Box<dyn Stream>, Unreachable>;
}

/// Why a visitor may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everybody may.
    Public,
    /// One of the visitor's passes is good.
    Pass {
        /// Which, counted from 0.
        index: usize,
        /// For how long it still is.
        expires_in: Duration,
    },
}

/// A step of a wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What happens, for people: "Starting the sandbox".
    pub text: String,
    /// How much of it is done, where that is known.
    pub percent: Option<u8>,
}

/// Why a visitor may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No pass was shown.
    #[error("no pass was shown")]
    NoPass,
    /// It is no pass, or its signature is not this server's.
    #[error("the pass was not made by this server, or was changed")]
    BadSignature,
    /// It was good.
    #[error("the pass has expired")]
    Expired,
    /// It is good for another sandbox.
    #[error("the pass is for another sandbox")]
    OtherSandbox,
    /// It is good for another port of this sandbox.
    #[error("the pass is for another port of this sandbox")]
    OtherPort,
    /// A browser's pass, used by a page of somebody else.
    #[error("the request was made by a page of another site, which may not use the visitor's pass")]
    OtherSite,
}

impl Denied {
    /// The reason as a word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoPass => "no_pass",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::OtherSandbox => "other_sandbox",
            Self::OtherPort => "other_port",
            Self::OtherSite => "other_site",
        }
    }
}

/// A refusal in the server's own words, passed on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, as a word that never changes.
    pub code: String,
    /// A few words for people.
    pub title: String,
    /// What is wrong, naming the thing.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Seconds after which the same request may succeed.
    pub retry_after: Option<u64>,
}

/// Why a preview cannot be shown. A refusal that becomes a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No such sandbox.
    #[error("sandbox {0} was not found")]
    UnknownSandbox(String),
    /// The visitor has no pass that is good for it.
    #[error("the preview is private: {0}")]
    Denied(Denied),
    /// It is stopped, failed or being removed; `state` says which.
    #[error("sandbox {sandbox} is {state}")]
    NotRunning {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Its state as a word.
        state: String,
    },
    /// Nothing listens there yet, for the app is about to start.
    #[error("the app in sandbox {sandbox} is starting: {step}")]
    AppStarting {
        /// Which sandbox.
        sandbox: SandboxId,
        /// What it does now, for people: "Installing dependencies".
        step: String,
    },
    /// Nothing listens there, for the app has failed and is not tried again.
    #[error("the app in sandbox {sandbox} has failed: {message}")]
    AppFailed {
        /// Which sandbox.
        sandbox: SandboxId,
        /// Why.
        message: String,
        /// What it said last.
        lines: Vec<String>,
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
    /// The server refuses, for a reason of its own: it could not be woken, or there is no room for it.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// Something on our side failed.
    #[error("the sandbox could not be reached: {0}")]
    Failed(String),
}
