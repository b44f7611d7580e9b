//! Coding agents: their manifests, and a turn driven over ACP.
//!
//! The agent's process belongs to the guest, which numbers every line of its standard streams on disk. A turn is a pure
//! function of those lines, so a server that was killed reads them again and goes on where it was.
#![deny(missing_docs)]

mod clip;
mod driver;
mod manifest;
mod registry;
mod turn;
mod wire;

pub use driver::{DriveError, TurnJob, TurnOutcome, drive};
pub use manifest::{AgentContext, AgentManifest, BadModel, ManifestError, Protocol, Quirk};
pub use registry::{AgentRegistry, UnknownAgent};
pub use turn::{Ending, Outgoing, Step, Turn, TurnSpec, TurnUsage};

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::stream::BoxStream;
use glass_types::Event;

/// One line of an agent process's log, as the guest keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentLine {
    /// 1, 2, 3, … over all streams of this process.
    pub number: u64,
    /// Where the line came from.
    pub source: LineSource,
    /// Without the line break. For [`LineSource::Exit`] the exit status in words.
    pub text: String,
}

/// Where a line of the log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineSource {
    /// What we sent to it.
    Stdin,
    /// What it answered.
    Stdout,
    /// What it complained.
    Stderr,
    /// Its end; the last line of every log.
    Exit,
}

/// How to start an agent process in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the sandbox's environment.
    pub env: BTreeMap<String, String>,
    /// Working directory in the sandbox.
    pub cwd: String,
}

/// The way to one agent process, through the guest of its sandbox. The implementor names the process by a key.
#[async_trait]
pub trait AgentLink: Send + Sync {
    /// Starts the process unless one with this key was ever started here.
    async fn start(&self, key: &str, command: &AgentCommand) -> Result<(), LinkError>;

    /// Sends one line to its standard input, once: a second line with the same `once` key is ignored by the guest.
    async fn send(&self, key: &str, once: &str, line: &str) -> Result<(), LinkError>;

    /// Its log from the line with number `from` on, then every new line as it comes. Ends after [`LineSource::Exit`].
    async fn lines(
        &self,
        key: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<AgentLine, LinkError>>, LinkError>;

    /// Ends the process and its children.
    async fn stop(&self, key: &str) -> Result<(), LinkError>;
}

/// The sandbox or its guest could not be reached, or refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// No process with this key in this sandbox (it was stopped since, say).
    #[error("no agent process {0} in this sandbox")]
    Unknown(String),
    /// The program could not be started.
    #[error("the agent could not be started: {0}")]
    Start(String),
    /// The connection broke; trying again may help.
    #[error("the sandbox did not answer: {0}")]
    Broken(String),
}

/// Where events go: to disk, then to whoever watches.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Stores the events that log line `line` gave rise to, all or none, before it returns.
    async fn append(&self, line: u64, events: Vec<Event>) -> anyhow::Result<()>;
}
