//! `glasshouse.Agent`: processes whose standard streams are a numbered log on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The longest line that is kept whole. A longer one is split, and each part but the last ends with [`CONTINUED`].
pub const MAX_LINE: usize = 16 << 20;
/// The mark of a split line.
pub const CONTINUED: &str = " …[line continues]";

/// `Start`. Only the first one for a key does anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStart {
    /// Names the process for ever: 1 to 64 of `A-Z a-z 0-9 . _ -`, not a dot first.
    pub key: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Added to the sandbox's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory. The workspace if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// Answer of `Start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStarted {
    /// Whether this call started it.
    pub started: bool,
}

/// `Send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSend {
    /// Which process.
    pub key: String,
    /// A second line with the same text here is ignored.
    pub once: String,
    /// Without its line break, and with none inside.
    pub line: String,
}

/// Answer of `Send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSent {
    /// Whether this call sent it.
    pub sent: bool,
}

/// `Lines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLines {
    /// Which process.
    pub key: String,
    /// First line wanted; 0 and 1 are the beginning.
    #[serde(default)]
    pub from: u64,
}

/// `Stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentKey {
    /// Which process.
    pub key: String,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentSource {
    /// What was sent to it.
    Stdin,
    /// What it answered.
    Stdout,
    /// What it complained.
    Stderr,
    /// Its end; the last line of every log.
    Exit,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLine {
    /// 1, 2, 3, … over all sources.
    pub number: u64,
    /// Where it came from.
    pub source: AgentSource,
    /// Without the line break. Of [`AgentSource::Exit`] the exit status in words.
    pub text: String,
}

/// One element of [`AgentList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its key.
    pub key: String,
    /// While it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Lines in its log.
    pub lines: u64,
}

/// Answer of `List`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentList {
    /// All that were ever started here.
    #[serde(default)]
    pub agents: Vec<AgentInfo>,
}
