//! The gateway as a local HTTP address: every connection is spliced to the sandbox's gateway socket.
//!
//! It is also the proxy by which programs reach the outside. Before an answer that refuses is passed on, whoever asked
//! is looked for, as it may be gone when it has read it.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::Instant;

use crate::carry;
use crate::net::Net;
use crate::socket::Socket;
use crate::startup::StartError;

/// A server that restarts is back by then.
const PATIENCE: Duration = Duration::from_secs(120);
const BUFFER: usize = 8 * 1024;
/// What the user's processes may have open at once.
const CONNECTIONS: usize = 1024;

pub(crate) async fn bind(port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| StartError::step(format!("gateway port {port} on 127.0.0.1"), error))
}

pub(crate) async fn serve(listener: TcpListener, net: Arc<Net>) -> Infallible {
    carry::each(listener, CONNECTIONS, move |client| {
        let net = Arc::clone(&net);
        async move { splice(client, &net).await }
    })
    .await
}

async fn splice(client: TcpStream, net: &Net) {
    let _ = client.set_nodelay(true);
    let Some(gateway) = connect(&client, net.socket()).await else {
        return;
    };
    let ends = (client.peer_addr(), client.local_addr());
    let (mut from_client, mut to_client) = tokio::io::split(Socket(client));
    let (mut from_gateway, mut to_gateway) = tokio::io::split(Socket(gateway));
    let out = async {
        tokio::io::copy(&mut from_client, &mut to_gateway).await?;
        to_gateway.shutdown().await
    };
    let back = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = from_gateway.read(&mut buffer).await?;
            if length == 0 {
                return to_client.shutdown().await;
            }
            if let (Some(number), (Ok(client), Ok(here))) = (refusal_in(&buffer[..length]), &ends) {
                net.tell_whose(number, *client, *here).await;
            }
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    // Either side's end is an ordinary end of a connection.
    let _ = tokio::try_join!(out, back);
}

/// The number of the refusal in the head of an answer. What looks like one and is none names the wrong process at worst.
pub(crate) fn refusal_in(answer: &[u8]) -> Option<u64> {
    if !answer.starts_with(b"HTTP/1.1 403") {
        return None;
    }
    let head = String::from_utf8_lossy(&answer[..answer.len().min(BUFFER)]);
    head.lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix("glasshouse-refusal: "))
        .and_then(|number| number.trim().parse().ok())
}

/// Tries until the server is back, or the client has gone.
pub(crate) async fn connect(client: &TcpStream, socket: &Path) -> Option<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(20);
    loop {
        if let Ok(gateway) = UnixStream::connect(socket).await {
            return Some(gateway);
        }
        if Instant::now() + pause > deadline || has_gone(client) {
            return None;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn has_gone(client: &TcpStream) -> bool {
    let mut byte = [0];
    match rustix::net::recv(
        client,
        &mut byte[..],
        rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT,
    ) {
        Ok((_, length)) => length == 0,
        Err(error) => error != rustix::io::Errno::AGAIN && error != rustix::io::Errno::INTR,
    }
}

#[cfg(test)]
mod tests {
    use super::refusal_in;

    #[test]
    fn the_number_is_found_in_the_head_of_a_refusal_only() {
        let head =
            "HTTP/1.1 403 Egress refused\r\ncontent-length: 2\r\nglasshouse-refusal: 7\r\n\r\n{}";
        assert_eq!(refusal_in(head.as_bytes()), Some(7));
        for text in [
            "HTTP/1.1 200 OK\r\nglasshouse-refusal: 7\r\n\r\n",
            "HTTP/1.1 403 No\r\n\r\nglasshouse-refusal: 7\r\n",
            "HTTP/1.1 403 No\r\nglasshouse-refusal: x\r\n\r\n",
            "",
        ] {
            assert_eq!(refusal_in(text.as_bytes()), None, "{text}");
        }
    }
}
