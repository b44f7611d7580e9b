//! The gateway as a local HTTP address: every connection is spliced to the sandbox's gateway socket.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::startup::StartError;

/// A server that restarts is back by then.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the user's processes may have open at once.
const CONNECTIONS: usize = 1024;

pub(crate) async fn bind(port: u16) -> Result<TcpListener, StartError> {
    TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| StartError::step(format!("gateway port {port} on 127.0.0.1"), error))
}

pub(crate) async fn serve(listener: TcpListener, socket: &Path) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: others end meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let socket = socket.to_owned();
        tokio::spawn(async move {
            splice(client, &socket).await;
            drop(permit);
        });
    }
}

async fn splice(mut client: TcpStream, socket: &Path) {
    let _ = client.set_nodelay(true);
    let Some(mut gateway) = connect(&client, socket).await else {
        return;
    };
    // Either side's end is an ordinary end of a connection.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
}

/// Tries until the server is back, or the client has gone.
async fn connect(client: &TcpStream, socket: &Path) -> Option<UnixStream> {
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
