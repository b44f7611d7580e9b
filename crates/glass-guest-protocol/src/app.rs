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
    /// For people: why it does not run, with its last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What `web` answered when it was last asked how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppHealth {
    /// Whether it answered as a sound app does.
    pub healthy: bool,
    /// The path that was asked for.
    pub path: String,
    /// The status of the answer. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people: what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when it has answered so. Milliseconds since 1970 UTC.
    pub since_ms: i64,
    /// When it was asked last. A frame of `Watch` is not sent for this alone.
    pub checked_ms: i64,
}

/// `Process`: what is to be done with one process of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppProcessRequest {
    /// `web` or a worker's name.
    pub name: String,
    /// What to do. The answer, an [`AppProcess`], is given when it is done.
    pub action: AppAction,
}

/// What can be done with a process of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppAction {
    /// Run it, also one that was given up. No change when it runs.
    Start,
    /// End it and leave it so, until it or the whole app is started again.
    Stop,
    /// End it and run it again.
    Restart,
}

/// Answer of `Status`, frame of `Watch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// How it was decided what to run.
    pub kind: AppKind,
    /// The framework it was taken for: `nextjs`, `fastapi`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
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
    /// How `web` answers, once it has been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<AppHealth>,
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
    /// 1, 2, 3, … over all processes. Old lines make room, numbers are never given again.
    pub number: u64,
    /// When it was written. Milliseconds since 1970 UTC.
    #[serde(default)]
    pub at_ms: i64,
    /// Without the line break.
    pub text: String,
}

/// `Events`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEventsRequest {
    /// First event wanted. The oldest that is kept if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Whether to go on with new events as they come.
    #[serde(default)]
    pub follow: bool,
}

/// A process of the app ended without having been told to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppCrash {
    /// Which process: `web`, `install`, `build` or a worker's name.
    pub process: String,
    /// Its command.
    pub command: String,
    /// How it ended, in words: `exit status 1`, `signal: killed`.
    pub status: String,
    /// The exit code, of one that exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal, of one that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether it will not be started again by itself.
    pub given_up: bool,
    /// The last lines it wrote.
    #[serde(default)]
    pub lines: Vec<String>,
}

/// An element of `Events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEvent {
    /// 1, 2, 3, … Old events make room, numbers are never given again.
    pub number: u64,
    /// When it happened. Milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What happened.
    pub crash: AppCrash,
}
