//! Asks a guest whether it is there.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends `GET /health` and waits for the answer.
pub(crate) async fn probe<S>(mut stream: S) -> io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
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
