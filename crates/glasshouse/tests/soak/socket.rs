//! WebSockets: of terminals, and of apps behind previews.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{self, Message};

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open socket.
pub(crate) struct Socket(Box<WebSocketStream<TcpStream>>);

/// What came of opening one.
pub(crate) enum Opened {
    Socket(Socket),
    /// Not now: 503, or nobody is there.
    Later(String),
}

impl Socket {
    /// Opens one at a path of the server, as the host and with the token that are given.
    pub(crate) async fn open(
        port: u16,
        host: &str,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<Opened> {
        let mut request = Request::get(format!("ws://127.0.0.1:{port}{path}"))
            .header("host", host)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(())?;
        let stream = match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Opened::Later(error.to_string())),
        };
        let shaken = timeout(PATIENCE, tokio_tungstenite::client_async(request, stream));
        match shaken.await.context("no handshake")? {
            Ok((socket, _)) => Ok(Opened::Socket(Self(Box::new(socket)))),
            Err(tungstenite::Error::Http(answer)) => {
                let status = answer.status();
                let body = answer.body().as_deref().unwrap_or_default();
                let text = format!("{status}: {}", String::from_utf8_lossy(body));
                if status == 503 && answer.headers().contains_key("retry-after") {
                    return Ok(Opened::Later(text));
                }
                bail!("{text}")
            }
            Err(error) => Ok(Opened::Later(error.to_string())),
        }
    }

    pub(crate) async fn send(&mut self, bytes: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.0.send(Message::binary(bytes)).await?)
    }

    /// The next message; nothing at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match timeout(PATIENCE, self.0.next()).await.context("no word")? {
            Some(message) => Ok(Some(message?.into_data().to_vec())),
            None => Ok(None),
        }
    }

    /// Closes it and waits until the other side has, too.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        self.0.close().await?;
        while let Some(message) = timeout(PATIENCE, self.0.next()).await.context("no end")? {
            if message.is_err() {
                break;
            }
        }
        Ok(())
    }
}
