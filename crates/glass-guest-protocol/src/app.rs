//! `glasshouse.App`: supervision of the app in the workspace.

use serde::{Deserialize, Serialize};

/// How it was decided what to run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppKind {
    /// Nothing to run was found.
    #[default]
    None,
    /// `glasshouse.yaml` says it.
    Manifest,
    /// A script of `package.json`.
    Node,
    /// A Python program.
    Python,
    /// Files that the guest serves itself.
    Static,
}

/// How the app is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// There is nothing to run.
    #[default]
    Idle,
    /// Dependencies are being installed.
    Installing,
    /// The manifest's `build` runs.
    Building,
    /// It runs but does not answer yet.
    Starting,
    /// It answers.
    Running,
    /// It will not be tried again until a deciding file changes or `Restart` is called.
    Failed,
    /// It was stopped.
    Stopped,
}

/// How one process of the app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppProcess {
    /// `web`, `install`, `build`, or a worker's name.
    pub name: String,
    /// How it is.
    pub state: AppState,
    /// While it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
}

/// Answer of `Status`, frame of `Watch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// How it was decided what to run.
    pub kind: AppKind,
    /// The command of `web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Where it answers, or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How it is.
    pub state: AppState,
    /// For people: what is wrong and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its processes.
    #[serde(default)]
    pub processes: Vec<AppProcess>,
}

/// `Logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLogsRequest {
    /// Only of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// First line wanted. The oldest that is kept if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Whether to go on with new lines as they come.
    #[serde(default)]
    pub follow: bool,
}

/// A line that a process of the app wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppLogLine {
    /// Which process.
    pub process: String,
    /// 1, 2, 3, … over all processes.
    pub number: u64,
    /// Without the line break.
    pub text: String,
}
