//! Whose connection it is.

use std::net::SocketAddr;

use crate::identity::as_user;
use crate::ports;

/// `name[pid]` of the process that has the socket from `client` to `here`, as far as the user may see.
pub(super) async fn of(client: SocketAddr, here: SocketAddr) -> Option<String> {
    let look = as_user(move || {
        let file = if client.is_ipv4() {
            "/proc/net/tcp"
        } else {
            "/proc/net/tcp6"
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let inode = text.lines().find_map(|line| inode(line, client, here));
        let pid = inode.and_then(|inode| ports::owners([inode]).remove(&inode));
        Ok(pid.map(|pid| {
            let name = ports::name(pid).unwrap_or_default();
            // It goes into the head of a request.
            let name: String = name.chars().filter(char::is_ascii_graphic).collect();
            format!("{name}[{pid}]")
        }))
    });
    look.await.ok().flatten()
}

fn inode(line: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let is = |field: Option<&&str>, wanted: SocketAddr| {
        let (address, port) = field?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let found = SocketAddr::new(ports::address(address)?, port);
        (found == wanted).then_some(())
    };
    is(fields.get(1), local)?;
    is(fields.get(2), remote)?;
    fields.get(9)?.parse().ok().filter(|inode| *inode != 0)
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn the_process_of_a_connection_is_found() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (here, _) = listener.accept().await.unwrap();
            let (peer, local) = (here.peer_addr().unwrap(), here.local_addr().unwrap());
            let found = of(peer, local).await;
            let own = format!("[{}]", std::process::id());
            assert!(
                found.as_ref().is_some_and(|text| text.ends_with(&own)),
                "{found:?}"
            );
            drop(client);
            assert_eq!(of(peer, local).await, None);
        }
    }
}
