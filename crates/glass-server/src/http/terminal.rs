//! `/v1/sandboxes/{id}/terminal`

use std::collections::BTreeMap;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::StreamExt;
use glass_api::{Code, Problem, TerminalMessage};
use glass_guest_protocol::process::{
    ProcessConfig, ProcessData, ProcessEvent, ProcessInput, Pty, PtySize, Selector, Signal,
    StartRequest,
};
use glass_runtime::StartedProcess;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::refusal;
use super::sandboxes::sandbox_id;
use crate::app::{Awake, UseKind};
use crate::error::ApiError;

/// The largest message a client may send: a paste, not a file.
const MESSAGE_LIMIT: usize = 1 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct TerminalQuery {
    /// Columns of the window.
    #[serde(default = "default_cols")]
    cols: u16,
    /// Rows of the window.
    #[serde(default = "default_rows")]
    rows: u16,
    /// A command line; a login shell unless given.
    command: Option<String>,
}

fn default_cols() -> u16 {
    80
}

fn default_rows() -> u16 {
    24
}

/// Opens a terminal: a WebSocket with binary input and output and `TerminalMessage`s as text.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/terminal", tag = "processes", operation_id = "open_terminal", params(("id" = String, Path), TerminalQuery),
    responses((status = 101, body = TerminalMessage), refusal::Guest)
)]
pub(super) async fn terminal(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<TerminalQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(Code::InvalidInput, rejection.body_text())
            .with_remedy("open it as a WebSocket: ws://, HTTP/1.1, version 13")
    })?;
    for (field, value) in [("cols", query.cols), ("rows", query.rows)] {
        if !(1..=1000).contains(&value) {
            return Err(Problem::field(field, value, "give 1 to 1000").into());
        }
    }
    let id = sandbox_id(&id)?;
    let awake = state.sandboxes.awake(&id, UseKind::Terminal).await?;
    let guest = awake.guest();
    let mut args = vec!["-i".to_owned(), "-l".to_owned()];
    if let Some(command) = query.command {
        args = vec!["-l".to_owned(), "-c".to_owned(), command];
    }
    let envs = BTreeMap::from([("TERM".to_owned(), "xterm-256color".to_owned())]);
    let start = StartRequest {
        process: ProcessConfig {
            cmd: "/bin/bash".to_owned(),
            args,
            envs,
            cwd: None,
        },
        pty: Some(Pty {
            size: Some(PtySize {
                cols: query.cols,
                rows: query.rows,
            }),
        }),
        tag: None,
        stdin: None,
    };
    let process = guest.start(&start).await?;
    let (abandoned, pid) = (guest.clone(), Selector::Pid(process.pid));
    Ok(upgrade
        .max_message_size(MESSAGE_LIMIT)
        .on_failed_upgrade(move |_| {
            tokio::spawn(async move { drop(abandoned.signal(pid, Signal::Kill).await) });
        })
        .on_upgrade(move |socket| bridge(socket, awake, process)))
}

/// Carries bytes both ways until either side ends. A client that leaves hangs up the shell, as a closed window does.
///
/// An open terminal is a use of its sandbox, whether or not anybody types.
async fn bridge(mut socket: WebSocket, awake: Awake, mut process: StartedProcess) {
    let guest = awake.guest();
    let pid = Selector::Pid(process.pid);
    loop {
        tokio::select! {
            event = process.events.next() => match event {
                Some(Ok(ProcessEvent::Data(ProcessData::Pty(data) | ProcessData::Stdout(data) | ProcessData::Stderr(data)))) => {
                    if socket.send(Message::Binary(data.into())).await.is_err() {
                        break;
                    }
                }
                Some(Ok(ProcessEvent::Start(_) | ProcessEvent::Keepalive(_))) => {}
                Some(Ok(ProcessEvent::End(end))) => {
                    let exit_code = end.signal.map_or(end.exit_code, |signal| signal.saturating_add(128));
                    let exit = serde_json::to_string(&TerminalMessage::Exit { exit_code }).unwrap_or_default();
                    drop(socket.send(Message::Text(exit.into())).await);
                    drop(socket.send(Message::Close(None)).await);
                    return;
                }
                Some(Err(_)) | None => break,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Binary(keys))) => {
                    if guest.send_input(pid.clone(), ProcessInput::Pty(keys.to_vec())).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Text(text))) => {
                    // A window of no size is one that is being closed.
                    if let Ok(TerminalMessage::Resize { cols: cols @ 1..=1000, rows: rows @ 1..=1000 }) = serde_json::from_str(&text) {
                        drop(guest.resize(pid.clone(), PtySize { cols, rows }).await);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    drop(guest.signal(pid, Signal::Kill).await);
}
