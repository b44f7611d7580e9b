//! Running a command to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use glass_guest_protocol::connect::Code;
use glass_guest_protocol::process::{
    ProcessData, ProcessEnd, ProcessEvent, ProcessInput, Selector, StartRequest,
};

use super::{GuestClient, GuestError};

/// What is kept of each of the two output streams. The rest is read and dropped.
pub const MAX_OUTPUT: usize = 16 << 20;

/// A command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Working directory. The workspace if absent.
    pub cwd: Option<String>,
    /// Added to the sandbox's environment.
    pub env: BTreeMap<String, String>,
    /// Its standard input; absent means none.
    pub stdin: Option<Vec<u8>>,
    /// `root` where the sandbox's root is writable. Its user if absent.
    pub user: Option<String>,
    /// After this it is killed with all its children.
    pub timeout: Option<Duration>,
}

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// The first [`MAX_OUTPUT`] bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The first [`MAX_OUTPUT`] bytes of its standard error.
    pub stderr: Vec<u8>,
    /// Its exit code; 128 + the signal's number when a signal ended it.
    pub exit_code: i32,
    /// Whether it was killed because its time was over.
    pub timed_out: bool,
    /// Whether output was dropped.
    pub truncated: bool,
}

impl ExecOutput {
    fn keep(&mut self, data: &ProcessData) {
        let (kept, bytes) = match data {
            ProcessData::Stdout(bytes) | ProcessData::Pty(bytes) => (&mut self.stdout, bytes),
            ProcessData::Stderr(bytes) => (&mut self.stderr, bytes),
        };
        let room = MAX_OUTPUT.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
    }
}

/// As a shell tells it.
fn exit_code(end: &ProcessEnd) -> i32 {
    end.signal
        .map_or(end.exit_code, |signal| signal.saturating_add(128))
}

impl GuestClient {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// `NotFound` names a missing program, `InvalidArgument` a bad directory. A command that fails is no error.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecOutput, GuestError> {
        let start = StartRequest {
            process: super::process::config(&request.command, &request.env, request.cwd.as_deref()),
            pty: None,
            tag: None,
            stdin: Some(request.stdin.is_some()),
        };
        let started = self
            .start_within(&start, request.timeout, request.user.as_deref())
            .await?;
        let mut events = started.events;
        let feed = self.feed(started.pid, request.stdin);
        tokio::pin!(feed);
        let mut fed = false;
        let mut output = ExecOutput::default();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut feed, if !fed => { fed = true; continue; }
            };
            match event {
                Some(Ok(ProcessEvent::Data(data))) => output.keep(&data),
                Some(Ok(ProcessEvent::Start(_) | ProcessEvent::Keepalive(_))) => {}
                Some(Ok(ProcessEvent::End(end))) => {
                    output.exit_code = exit_code(&end);
                    return Ok(output);
                }
                Some(Err(GuestError::Refused(error))) if error.code == Code::DeadlineExceeded => {
                    output.timed_out = true;
                    output.exit_code = 137;
                    return Ok(output);
                }
                Some(Err(error)) => return Err(error),
                None => return Err(self.nonsense("exec", "no end event")),
            }
        }
    }

    /// Writes the input in parts and closes it. A command that does not read it is no error.
    async fn feed(&self, pid: u32, stdin: Option<Vec<u8>>) {
        let Some(stdin) = stdin else { return };
        for part in stdin.chunks(1 << 20) {
            let input = ProcessInput::Stdin(part.to_vec());
            if self.send_input(Selector::Pid(pid), input).await.is_err() {
                return;
            }
        }
        let _ = self.close_stdin(Selector::Pid(pid)).await;
    }
}
