//! Connections that programs made to addresses outside.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::{Answer, DNS_PORT, Net, answer, dns};
use crate::{carry, gateway};

/// What the user's processes may have open at once; more wait.
const CONNECTIONS: usize = 1024;

pub(super) async fn serve(listener: TcpListener, net: Arc<Net>) -> Infallible {
    carry::each(listener, CONNECTIONS, move |client| {
        let net = Arc::clone(&net);
        async move { pass(client, &net).await }
    })
    .await
}

/// The socket's own address is the one that the program connected to.
async fn pass(mut client: TcpStream, net: &Net) {
    let Ok(outside) = client.local_addr() else {
        return;
    };
    if outside.port() == DNS_PORT {
        return dns::answer_stream(client, net).await;
    }
    let _ = client.set_nodelay(true);
    let Some((mut gateway, first)) = open(&client, outside, net).await else {
        return reset(&client);
    };
    if client.write_all(&first).await.is_err()
        || tokio::io::copy_bidirectional(&mut client, &mut gateway)
            .await
            .is_err()
    {
        reset(&client);
    }
}

/// The way to the outside, and what came on it already.
async fn open(client: &TcpStream, outside: SocketAddr, net: &Net) -> Option<(UnixStream, Vec<u8>)> {
    // Whoever connects to the listener itself means nobody.
    if outside.ip().is_loopback() {
        return None;
    }
    let target = target(outside, net);
    let mut gateway = gateway::connect(client, net.socket()).await?;
    let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    gateway.write_all(request.as_bytes()).await.ok()?;
    let Answer { status, head, rest } = answer(&mut gateway).await?;
    if status == 200 {
        return Some((gateway, rest));
    }
    if let Some(number) = gateway::refusal_in(&head)
        && let Ok(peer) = client.peer_addr()
    {
        net.tell_whose(number, peer, outside).await;
    }
    None
}

fn target(outside: SocketAddr, net: &Net) -> String {
    let port = outside.port();
    match (net.name_of(outside.ip()), outside.ip()) {
        (Some(name), _) => format!("{name}:{port}"),
        (None, IpAddr::V4(address)) => format!("{address}:{port}"),
        (None, IpAddr::V6(address)) => format!("[{address}]:{port}"),
    }
}

/// The program sees that it was refused, not that it ended.
fn reset(client: &TcpStream) {
    let _ = client.set_zero_linger();
}
