//! `/v1/sandboxes/{id}/exec`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use glass_api::{Code, ExecChunk, ExecCommand, ExecParams, ExecView, Problem};
use glass_guest_protocol::process::{
    ProcessConfig, ProcessData, ProcessEvent, ProcessInput, Selector, Signal, StartRequest,
};
use glass_runtime::{ExecRequest, GuestError, StartedProcess};
use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::extract::{Json as Body, Path};
use super::sandboxes::sandbox_id;
use super::{refusal, sse};
use crate::app::{Awake, UseKind, validate};
use crate::error::ApiError;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The exit code of a command whose time was over.
const KILLED: i32 = 128 + 9;
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs a command in a sandbox.
///
/// Answers when it has ended; with `Accept: text/event-stream`, streams what it prints as it comes.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/exec", tag = "processes", operation_id = "exec", params(("id" = String, Path)), request_body = ExecParams,
    responses(
        (status = 200, content((ExecView = "application/json"), (ExecChunk = "text/event-stream"))),
        refusal::Exec
    )
)]
pub(super) async fn exec(
    State(state): State<super::State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(params): Body<ExecParams>,
) -> Result<Response, ApiError> {
    let request = request(params)?;
    let id = sandbox_id(&id)?;
    let awake = state.sandboxes.awake(&id, UseKind::Exec).await?;
    if sse::is_wanted(&headers) {
        return stream(awake, request, state.tasks.shutdown().clone()).await;
    }
    let output = awake.guest().exec(request).await.map_err(not_started)?;
    Ok(Json(ExecView {
        exit_code: output.exit_code,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        timed_out: output.timed_out,
    })
    .into_response())
}

fn request(params: ExecParams) -> Result<ExecRequest, Problem> {
    validate::env(&params.env)?;
    let command = match params.command {
        ExecCommand::Shell(line) if line.trim().is_empty() => {
            return Err(Problem::field(
                "command",
                line,
                "give a command line or a list of program and arguments",
            ));
        }
        ExecCommand::Shell(line) => vec![
            "/bin/bash".to_owned(),
            "-l".to_owned(),
            "-c".to_owned(),
            line,
        ],
        ExecCommand::Argv(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err(Problem::field(
                "command",
                "[]",
                "give a command line or a list of program and arguments",
            ));
        }
        ExecCommand::Argv(argv) => argv,
    };
    let timeout = params
        .timeout_ms
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis);
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        let most = LONGEST_TIMEOUT.as_millis();
        return Err(Problem::field(
            "timeout_ms",
            timeout.as_millis(),
            format!("give 1 to {most} milliseconds"),
        ));
    }
    Ok(ExecRequest {
        command,
        cwd: params.cwd,
        env: params.env,
        stdin: params.stdin.map(String::into_bytes),
        user: params.user,
        timeout: Some(timeout),
    })
}

/// A program that is missing is the caller's mistake, not a missing file of the API.
fn not_started(error: GuestError) -> ApiError {
    let problem = crate::app::guest_problem(error);
    match problem.code {
        Code::FileNotFound | Code::InvalidInput => {
            Problem::new(Code::CommandNotStarted, problem.detail).into()
        }
        _ => problem.into(),
    }
}

/// What a streamed command is at.
struct Running {
    awake: Awake,
    process: StartedProcess,
    deadline: Instant,
    timed_out: bool,
    ended: bool,
    shutdown: CancellationToken,
}

impl Drop for Running {
    /// A client that leaves ends its command, as a closed window does; a server that stops does not.
    fn drop(&mut self) {
        if self.ended || self.shutdown.is_cancelled() {
            return;
        }
        let (guest, pid) = (self.awake.guest().clone(), Selector::Pid(self.process.pid));
        // That it has ended by itself is as good.
        tokio::spawn(async move { drop(guest.signal(pid, Signal::Kill).await) });
    }
}

async fn stream(
    awake: Awake,
    request: ExecRequest,
    shutdown: CancellationToken,
) -> Result<Response, ApiError> {
    let (cmd, args) = request
        .command
        .split_first()
        .ok_or_else(|| Problem::field("command", "[]", "it is empty"))?;
    let start = StartRequest {
        process: ProcessConfig {
            cmd: cmd.clone(),
            args: args.to_vec(),
            envs: request.env,
            cwd: request.cwd,
        },
        pty: None,
        tag: None,
        stdin: Some(request.stdin.is_some()),
    };
    let process = awake
        .guest()
        .start_as(&start, request.user.as_deref())
        .await
        .map_err(not_started)?;
    let pid = process.pid;
    if let Some(stdin) = request.stdin {
        // Beside the output, so that a program which prints before it has read everything does not block.
        let guest = awake.guest().clone();
        tokio::spawn(async move {
            let fed = guest
                .send_input(Selector::Pid(pid), ProcessInput::Stdin(stdin))
                .await;
            if fed.is_ok() {
                drop(guest.close_stdin(Selector::Pid(pid)).await);
            }
        });
    }
    let deadline = Instant::now() + request.timeout.unwrap_or(DEFAULT_TIMEOUT);
    let running = Running {
        awake,
        process,
        deadline,
        timed_out: false,
        ended: false,
        shutdown: shutdown.clone(),
    };
    let first = stream::once(async move { sse::json(&ExecChunk::Start { pid }) });
    Ok(sse::answer(
        first.chain(chunks(running).map(|chunk| sse::json(&chunk))),
        shutdown,
    ))
}

fn chunks(running: Running) -> BoxStream<'static, ExecChunk> {
    stream::unfold(running, |mut running| async move {
        loop {
            if running.ended {
                return None;
            }
            let event = tokio::select! {
                event = running.process.events.next() => event,
                () = tokio::time::sleep_until(running.deadline), if !running.timed_out => {
                    running.timed_out = true;
                    drop(running.awake.guest().signal(Selector::Pid(running.process.pid), Signal::Kill).await);
                    continue;
                }
            };
            let chunk = match event {
                Some(Ok(ProcessEvent::Data(ProcessData::Stdout(data) | ProcessData::Pty(data)))) => {
                    ExecChunk::Stdout { data: BASE64_STANDARD.encode(data) }
                }
                Some(Ok(ProcessEvent::Data(ProcessData::Stderr(data)))) => {
                    ExecChunk::Stderr { data: BASE64_STANDARD.encode(data) }
                }
                Some(Ok(ProcessEvent::Start(_) | ProcessEvent::Keepalive(_))) => continue,
                Some(Ok(ProcessEvent::End(end))) => {
                    running.ended = true;
                    let exit_code = match end.signal {
                        // A shell whose children were killed first may have ended by itself.
                        _ if running.timed_out => KILLED,
                        Some(signal) => signal.saturating_add(128),
                        None => end.exit_code,
                    };
                    ExecChunk::Exit { exit_code, timed_out: running.timed_out }
                }
                Some(Err(error)) => {
                    running.ended = true;
                    ExecChunk::Stderr { data: BASE64_STANDARD.encode(format!("{error}\n")) }
                }
                None => return None,
            };
            return Some((chunk, running));
        }
    })
    .boxed()
}
