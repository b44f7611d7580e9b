//! Asks a guest whether it is there.

use std::io;
use std::path::Path;
use std::time::Duration;

use glass_launch::SOCKET_FILE;
use glass_types::SandboxId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::process::Init;
use crate::{RuntimeError, socket};

/// A guest that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a guest ends whose connection has broken, if that is why.
const SOON: Duration = Duration::from_secs(1);
/// How much of the guest's log an error shows.
const TAIL: usize = 2000;

/// Waits until the guest answers, or says why it never will.
pub(crate) async fn answered(id: &SandboxId, dir: &Path, init: &Init) -> Result<(), RuntimeError> {
    // The socket was listening before the guest was executed, so one request is enough: it waits there.
    let answer = async { probe(socket::connect(dir, SOCKET_FILE).await?).await };
    first_of(id, dir, init, answer).await
}

/// Waits for an answer, as long as there can be one.
pub(crate) async fn first_of(
    id: &SandboxId,
    dir: &Path,
    init: &Init,
    answer: impl Future<Output = io::Result<()>>,
) -> Result<(), RuntimeError> {
    let failed = |reason: String| {
        let log = log_tail(dir);
        RuntimeError::Step {
            id: id.clone(),
            step: "start the guest",
            reason: if log.is_empty() {
                reason
            } else {
                format!("{reason}; it said: {log}")
            },
        }
    };
    let ended = || RuntimeError::Ended {
        id: id.clone(),
        said: log_tail(dir),
    };
    tokio::select! {
        answer = tokio::time::timeout(PATIENCE, answer) => match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) if init.ends_within(SOON).await.unwrap_or(false) => Err(ended()),
            Ok(Err(e)) => Err(failed(e.to_string())),
            Err(_) => Err(failed(format!("no answer within {PATIENCE:?}"))),
        },
        exited = init.exited() => match exited {
            Ok(()) => Err(ended()),
            Err(e) => Err(failed(e.to_string())),
        },
    }
}

/// Sends `GET /health` and waits for the answer.
pub(crate) async fn probe(mut stream: tokio::net::UnixStream) -> io::Result<()> {
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: guest\r\nconnection: close\r\n\r\n")
        .await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if &status == b"HTTP/1.1 204" {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&status).into_owned();
        Err(io::Error::other(format!("the guest answered {text:?}")))
    }
}

/// The end of the guest's log.
pub(crate) fn log_tail(dir: &Path) -> String {
    tail(&std::fs::read(dir.join("guest.log")).unwrap_or_default())
}

/// The end of what a guest said.
pub(crate) fn tail(text: &[u8]) -> String {
    let tail = &text[text.len().saturating_sub(TAIL)..];
    String::from_utf8_lossy(tail).trim().to_owned()
}
