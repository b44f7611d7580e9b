//! Commands in a sandbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /v1/sandboxes/{id}/exec`. With `Accept: text/event-stream` the answer is a stream of [`ExecChunk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecParams {
    /// What to run.
    pub command: ExecCommand,
    /// Working directory; the workspace unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Text for its standard input, which is then closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// `root` in a sandbox whose root is writable; its user `dev` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Milliseconds after which it is killed. 60 000 unless given, at most one hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// A command line for the shell, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ExecCommand {
    /// Run by the sandbox's shell.
    Shell(String),
    /// Run as it is.
    Argv(Vec<String>),
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecView {
    /// Its exit code; 128 + n when signal n ended it.
    pub exit_code: i32,
    /// What it printed, with bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
    /// Whether it was killed because its time was over.
    pub timed_out: bool,
}

/// One event of a streamed command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExecChunk {
    /// It runs.
    Start {
        /// Its pid inside the sandbox.
        pid: u32,
    },
    /// It printed.
    Stdout {
        /// Base64 of the bytes.
        data: String,
    },
    /// It complained.
    Stderr {
        /// Base64 of the bytes.
        data: String,
    },
    /// It ended. The last event.
    Exit {
        /// Its exit code; 128 + n when signal n ended it.
        exit_code: i32,
        /// Whether it was killed because its time was over.
        timed_out: bool,
    },
}

/// A text message of `GET /v1/sandboxes/{id}/terminal` (WebSocket).
///
/// Binary messages are keystrokes and, the other way, output. The client sends `resize`, the server's last message is
/// `exit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalMessage {
    /// The window has another size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// The program ended.
    Exit {
        /// Its exit code.
        exit_code: i32,
    },
}
