//! `process.Process`: processes and terminals.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessConfig {
    /// Program: a path, or a name that is looked up in `PATH`.
    pub cmd: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Added to the sandbox's environment.
    #[serde(default)]
    pub envs: BTreeMap<String, String>,
    /// Working directory. The workspace if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtySize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pty {
    /// 80 × 24 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<PtySize>,
}

/// `Start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRequest {
    /// What to run.
    pub process: ProcessConfig,
    /// Give it a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<Pty>,
    /// A name to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whether its standard input is a pipe that stays open. Absent means yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
}

/// Names a process by one of two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selector {
    /// By process id.
    Pid(u32),
    /// By the tag it was started with.
    Tag(String),
}

/// `Connect` and `CloseStdin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRequest {
    /// Which.
    pub process: Selector,
}

/// Bytes for a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessInput {
    /// For its standard input.
    Stdin(#[serde(with = "crate::bytes64")] Vec<u8>),
    /// For its terminal.
    Pty(#[serde(with = "crate::bytes64")] Vec<u8>),
}

/// `SendInput`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendInputRequest {
    /// Which.
    pub process: Selector,
    /// What.
    pub input: ProcessInput,
}

/// One message of `StreamInput`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StreamInputRequest {
    /// The first message.
    Start(ProcessRequest),
    /// Bytes.
    Data {
        /// What.
        input: ProcessInput,
    },
    /// Nothing.
    Keepalive(crate::connect::Empty),
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// Ctrl-C.
    #[serde(rename = "SIGNAL_SIGINT")]
    Interrupt,
    /// Asks to end.
    #[serde(rename = "SIGNAL_SIGTERM")]
    Terminate,
    /// Ends.
    #[serde(rename = "SIGNAL_SIGKILL")]
    Kill,
}

/// `SendSignal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendSignalRequest {
    /// Which.
    pub process: Selector,
    /// What.
    pub signal: Signal,
}

/// `Update`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// Which.
    pub process: Selector,
    /// New size of its terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pty: Option<Pty>,
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// What runs.
    pub config: ProcessConfig,
    /// Its process id inside the sandbox.
    pub pid: u32,
    /// The tag it was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// Answer of `List`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListResponse {
    /// All that were started through this protocol and run.
    #[serde(default)]
    pub processes: Vec<ProcessInfo>,
}

/// Output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessData {
    /// Of its standard output.
    Stdout(#[serde(with = "crate::bytes64")] Vec<u8>),
    /// Of its standard error.
    Stderr(#[serde(with = "crate::bytes64")] Vec<u8>),
    /// Of its terminal.
    Pty(#[serde(with = "crate::bytes64")] Vec<u8>),
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessEnd {
    /// -1 when a signal ended it.
    #[serde(default)]
    pub exit_code: i32,
    /// Whether it ended by itself.
    #[serde(default)]
    pub exited: bool,
    /// `exit status 1`, `signal: killed`.
    #[serde(default)]
    pub status: String,
    /// The status again when it is not success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of the signal that ended it. Ours; other clients ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// The first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStarted {
    /// Its process id inside the sandbox.
    pub pid: u32,
}

/// What happens to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessEvent {
    /// First, once.
    Start(ProcessStarted),
    /// Output.
    Data(ProcessData),
    /// Nothing: the connection lives.
    Keepalive(crate::connect::Empty),
    /// Last, once.
    End(ProcessEnd),
}

/// One frame of `Start` and `Connect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEventFrame {
    /// What happened.
    pub event: ProcessEvent,
}

/// The value of the header `Authorization` of `Start` by which a caller names the user of the process.
#[must_use]
pub fn authorization(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:")))
}

/// The user that such a header names. The password is not looked at: whoever may call may be any user.
#[must_use]
pub fn authorized(header: &str) -> Option<String> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, _) = text.split_once(':')?;
    Some(user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_as_the_official_clients_read_them() {
        let frame = |event| serde_json::to_string(&ProcessEventFrame { event }).unwrap();
        assert_eq!(
            frame(ProcessEvent::Start(ProcessStarted { pid: 7 })),
            r#"{"event":{"start":{"pid":7}}}"#
        );
        assert_eq!(
            frame(ProcessEvent::Data(ProcessData::Stdout(b"hi".to_vec()))),
            r#"{"event":{"data":{"stdout":"aGk="}}}"#
        );
        assert_eq!(
            frame(ProcessEvent::Keepalive(crate::connect::Empty {})),
            r#"{"event":{"keepalive":{}}}"#
        );
    }

    #[test]
    fn requests_with_unknown_fields_are_read() {
        let request: StartRequest = serde_json::from_str(
            r#"{"process":{"cmd":"/bin/bash","args":["-l","-c","true"],"envs":{},"later":1},"stdin":false}"#,
        )
        .unwrap();
        assert_eq!(request.process.cmd, "/bin/bash");
        assert_eq!(request.stdin, Some(false));
    }
}
