//! The app in a sandbox: its processes, its health, its log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The app in the sandbox, as its supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// How it was found: `none`, `manifest`, `node`, `python` or `static`.
    pub kind: String,
    /// `idle`, `installing`, `building`, `starting`, `running`, `failed` or `stopped`.
    pub state: String,
    /// The framework it was taken for: `nextjs`, `react-vite`, `fastapi`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// What is going on or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The command of the web process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The port it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Preview URL of that port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How it answers, once it has been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<AppHealthView>,
    /// Its processes.
    pub processes: Vec<AppProcessView>,
}

/// What the app's web process answered when it was last asked how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppHealthView {
    /// Whether it answered as a sound app does.
    pub healthy: bool,
    /// The path that was asked for: the manifest's `health_path`, or `/`.
    pub path: String,
    /// The HTTP status of the answer, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when it has answered so; milliseconds since 1970 UTC.
    pub since: i64,
    /// When it was asked last; milliseconds since 1970 UTC.
    pub checked_at: i64,
}

/// One supervised process of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppProcessView {
    /// `web`, `build`, `install` or the name of a worker.
    pub name: String,
    /// Its state as a word.
    pub state: String,
    /// Its pid inside the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it does not run, with its last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One line that a process of the app printed. The events of `GET /v1/sandboxes/{id}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Which process.
    pub process: String,
    /// Number of the line within the log of the app. The SSE `id` is the same.
    pub number: u64,
    /// When it was printed; milliseconds since 1970 UTC.
    #[serde(default)]
    pub at: i64,
    /// The line.
    pub text: String,
}
