//! Processes and terminals.

use futures::StreamExt as _;
use glass_guest_protocol::connect::Empty;
use glass_guest_protocol::process::{
    ListResponse, ProcessConfig, ProcessEvent, ProcessEventFrame, ProcessInfo, ProcessInput,
    ProcessRequest, Pty, PtySize, Selector, SendInputRequest, SendSignalRequest, Signal,
    StartRequest, UpdateRequest,
};

use super::{GuestClient, GuestError, GuestStream};

/// A process and what happens to it. It goes on running when the stream is dropped.
pub struct StartedProcess {
    /// Its process id inside the sandbox.
    pub pid: u32,
    /// Output, keepalives, and at last its end.
    pub events: GuestStream<ProcessEvent>,
}

impl std::fmt::Debug for StartedProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartedProcess")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

impl GuestClient {
    /// Starts a process and returns when it runs.
    ///
    /// # Errors
    /// `NotFound` names a missing program, `InvalidArgument` a bad directory.
    pub async fn start(&self, request: &StartRequest) -> Result<StartedProcess, GuestError> {
        self.start_within(request, None, None).await
    }

    /// The same as another user of the sandbox.
    ///
    /// # Errors
    /// `PermissionDenied` when nothing can be this user here.
    pub async fn start_as(
        &self,
        request: &StartRequest,
        user: Option<&str>,
    ) -> Result<StartedProcess, GuestError> {
        self.start_within(request, None, user).await
    }

    pub(super) async fn start_within(
        &self,
        request: &StartRequest,
        timeout: Option<std::time::Duration>,
        user: Option<&str>,
    ) -> Result<StartedProcess, GuestError> {
        let method = "process.Process/Start";
        let frames = self.streaming_as(method, request, timeout, user).await?;
        self.started(method, frames).await
    }

    /// Follows a process that runs: what is kept of its output, then what comes.
    ///
    /// # Errors
    /// `NotFound` if it does not run.
    pub async fn attach(&self, process: Selector) -> Result<StartedProcess, GuestError> {
        let method = "process.Process/Connect";
        let frames = self
            .streaming(method, &ProcessRequest { process }, None)
            .await?;
        self.started(method, frames).await
    }

    async fn started(
        &self,
        method: &str,
        frames: GuestStream<ProcessEventFrame>,
    ) -> Result<StartedProcess, GuestError> {
        let mut events: GuestStream<ProcessEvent> =
            Box::pin(frames.map(|frame| frame.map(|frame| frame.event)));
        match events.next().await {
            Some(Ok(ProcessEvent::Start(started))) => Ok(StartedProcess {
                pid: started.pid,
                events,
            }),
            Some(Ok(_)) | None => Err(self.nonsense(method, "no start event first")),
            Some(Err(error)) => Err(error),
        }
    }

    /// Sends bytes to a process's standard input or terminal; returns when they are written.
    ///
    /// # Errors
    /// `NotFound` if it does not run, `FailedPrecondition` if it has no such input.
    pub async fn send_input(
        &self,
        process: Selector,
        input: ProcessInput,
    ) -> Result<(), GuestError> {
        let request = SendInputRequest { process, input };
        let Empty {} = self.unary("process.Process/SendInput", &request).await?;
        Ok(())
    }

    /// Closes a process's standard input.
    ///
    /// # Errors
    /// `NotFound` if it does not run.
    pub async fn close_stdin(&self, process: Selector) -> Result<(), GuestError> {
        let request = ProcessRequest { process };
        let Empty {} = self.unary("process.Process/CloseStdin", &request).await?;
        Ok(())
    }

    /// Signals a process and all of its session.
    ///
    /// # Errors
    /// `NotFound` if it does not run.
    pub async fn signal(&self, process: Selector, signal: Signal) -> Result<(), GuestError> {
        let request = SendSignalRequest { process, signal };
        let Empty {} = self.unary("process.Process/SendSignal", &request).await?;
        Ok(())
    }

    /// Gives a process's terminal a new size.
    ///
    /// # Errors
    /// `NotFound` if it does not run, `FailedPrecondition` if it has no terminal.
    pub async fn resize(&self, process: Selector, size: PtySize) -> Result<(), GuestError> {
        let request = UpdateRequest {
            process,
            pty: Some(Pty { size: Some(size) }),
        };
        let Empty {} = self.unary("process.Process/Update", &request).await?;
        Ok(())
    }

    /// All processes that were started through the guest and run.
    ///
    /// # Errors
    /// As every call.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, GuestError> {
        let answer: ListResponse = self.unary("process.Process/List", &Empty {}).await?;
        Ok(answer.processes)
    }
}

/// Program, arguments, environment and directory as the protocol wants them.
pub(super) fn config(
    command: &[String],
    env: &std::collections::BTreeMap<String, String>,
    cwd: Option<&str>,
) -> ProcessConfig {
    ProcessConfig {
        cmd: command.first().cloned().unwrap_or_default(),
        args: command.iter().skip(1).cloned().collect(),
        envs: env.clone(),
        cwd: cwd.map(str::to_owned),
    }
}
