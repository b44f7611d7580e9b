//! `glasshouse shell <sandbox>`: this terminal becomes one in the sandbox.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use futures::stream::SplitSink;
use futures::{SinkExt, StreamExt};
use glass_api::TerminalMessage;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::cli::ShellArguments;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

type Socket = WebSocketStream<Upgraded>;

/// End of transmission: what Ctrl-D sends.
const END_OF_INPUT: u8 = 4;

pub(crate) async fn run(context: &Context, arguments: ShellArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let (cols, rows) = window();
    let socket = connect(&client, &sandbox.id, cols, rows, arguments.command).await?;
    // Only once the connection stands: until then Ctrl-C is still ours.
    let raw = RawTerminal::enter()?;
    let code = converse(context, socket).await;
    drop(raw);
    code
}

async fn connect(
    client: &Client,
    id: &str,
    cols: u16,
    rows: u16,
    command: Option<String>,
) -> Result<Socket, Failure> {
    let (cols, rows) = (cols.to_string(), rows.to_string());
    let mut query = vec![("cols", cols.as_str()), ("rows", rows.as_str())];
    if let Some(command) = &command {
        query.push(("command", command));
    }
    let path = format!("/v1/sandboxes/{id}/terminal");
    let request = client
        .request(Method::GET, &path, &query)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, generate_key());
    let response = client
        .send(request)
        .await
        .map_err(|error| client.failure(error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::new("the server does not offer a terminal here"));
    }
    let upgraded = response
        .upgrade()
        .await
        .naming(|| "the terminal did not open".to_owned())?;
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

async fn converse(context: &Context, socket: Socket) -> Result<ExitCode, Failure> {
    let (mut send, mut receive) = socket.split();
    let mut stdin = tokio::io::stdin();
    let mut keys = vec![0; 4096];
    let mut typing = true;
    let mut resized = signal(SignalKind::window_change())
        .naming(|| "cannot watch the window's size".to_owned())?;
    loop {
        tokio::select! {
            count = stdin.read(&mut keys), if typing => match count {
                Ok(count) if count > 0 => say(&mut send, Message::binary(keys[..count].to_vec())).await?,
                _ => {
                    typing = false;
                    say(&mut send, Message::binary(vec![END_OF_INPUT])).await?;
                }
            },
            _ = resized.recv() => {
                let (cols, rows) = window();
                let text = serde_json::to_string(&TerminalMessage::Resize { cols, rows })
                    .naming(|| "cannot tell the window's size".to_owned())?;
                say(&mut send, Message::text(text)).await?;
            }
            message = receive.next() => match message {
                Some(Ok(Message::Binary(bytes))) => context.out.bytes(&bytes)?,
                Some(Ok(Message::Text(text))) => {
                    if let Ok(TerminalMessage::Exit { exit_code }) = serde_json::from_str(&text) {
                        return Ok(ExitCode::from(u8::try_from(exit_code).unwrap_or(1)));
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    return Err(Failure::new("the terminal's connection ended")
                        .with_hint("see how the sandbox is with `glasshouse ps`"));
                }
            }
        }
    }
}

async fn say(send: &mut SplitSink<Socket, Message>, message: Message) -> Result<(), Failure> {
    send.send(message)
        .await
        .naming(|| "the terminal's connection broke".to_owned())
}

fn window() -> (u16, u16) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => (80, 24),
    }
}

/// Passes keys on as they are; when it goes, the terminal is as it was.
struct RawTerminal {
    before: Option<Termios>,
}

impl RawTerminal {
    fn enter() -> Result<Self, Failure> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { before: None });
        }
        let change = || -> rustix::io::Result<Termios> {
            let before = tcgetattr(&stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            Ok(before)
        };
        let before = change().naming(|| "this terminal cannot be set up".to_owned())?;
        Ok(Self {
            before: Some(before),
        })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing is left to do when even this fails.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}
