//! The host's side of the guest protocol.
//!
//! Every call opens a connection of its own through [`Runtime::guest`], so a guest that restarts, or a runtime that
//! moves, is never met through a stale one. The other side is untrusted: what it sends is bounded.

mod agent;
mod app;
mod exec;
mod files;
mod ports;
mod process;
mod wire;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use glass_guest_protocol::GuestInfo;
use glass_guest_protocol::connect::{Code, Empty, RpcError};
use glass_types::SandboxId;

use crate::{Runtime, RuntimeError};

pub use exec::{ExecOutput, ExecRequest, MAX_OUTPUT};
pub use process::StartedProcess;

/// A stream of answers.
pub type GuestStream<T> = Pin<Box<dyn Stream<Item = Result<T, GuestError>> + Send>>;

/// Why a call to a guest failed.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The guest could not be reached.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The connection broke.
    #[error("the guest of sandbox {id} broke the connection while {call}")]
    Broken {
        /// Which sandbox.
        id: SandboxId,
        /// What was called.
        call: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The guest said something that is not of the protocol.
    #[error("the guest of sandbox {id} answered nonsense to {call}: {reason}")]
    Nonsense {
        /// Which sandbox.
        id: SandboxId,
        /// What was called.
        call: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The guest refused. The message is for people.
    #[error("{}", .0.message)]
    Refused(RpcError),
}

impl GuestError {
    /// The guest's code; [`Code::Unavailable`] when it could not be asked.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Runtime(error) => match error {
                RuntimeError::Unknown(_) | RuntimeError::UnknownSnapshot(_) => Code::NotFound,
                RuntimeError::StillRunning(_) => Code::FailedPrecondition,
                RuntimeError::NotRunning(_)
                | RuntimeError::Ended { .. }
                | RuntimeError::PortClosed { .. }
                | RuntimeError::Unsupported { .. }
                | RuntimeError::Step { .. }
                | RuntimeError::DiskTooSmall { .. }
                | RuntimeError::DiskCannotGrow { .. }
                | RuntimeError::Io { .. } => Code::Unavailable,
            },
            Self::Broken { .. } => Code::Unavailable,
            Self::Nonsense { .. } => Code::Internal,
            Self::Refused(error) => error.code,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn could_retry(&self) -> bool {
        self.code() == Code::Unavailable
    }
}

/// A client of one sandbox's guest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GuestClient {
    runtime: Arc<dyn Runtime>,
    id: SandboxId,
}

impl GuestClient {
    /// A client of the guest of sandbox `id`. Connects when it is called.
    #[must_use]
    pub fn new(runtime: Arc<dyn Runtime>, id: SandboxId) -> Self {
        Self { runtime, id }
    }

    /// Which sandbox.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// Returns when the guest answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn health(&self) -> Result<(), GuestError> {
        let request = http::Request::get("/health").body(wire::empty());
        let answer = self.http("health", request).await?;
        if answer.status() == http::StatusCode::NO_CONTENT {
            Ok(())
        } else {
            Err(self.nonsense("health", format!("status {}", answer.status())))
        }
    }

    /// What the guest says of itself.
    ///
    /// # Errors
    /// As every call.
    pub async fn info(&self) -> Result<GuestInfo, GuestError> {
        self.unary("glasshouse.Guest/Info", &Empty {}).await
    }

    fn nonsense(&self, call: &str, reason: impl Into<String>) -> GuestError {
        GuestError::Nonsense {
            id: self.id.clone(),
            call: call.to_owned(),
            reason: reason.into(),
        }
    }

    fn broken(
        &self,
        call: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> GuestError {
        GuestError::Broken {
            id: self.id.clone(),
            call: call.to_owned(),
            source: source.into(),
        }
    }
}

/// The bytes of a file, as they come.
pub type FileStream = GuestStream<Bytes>;
