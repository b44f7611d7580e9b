//! The gateway's local address.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};

use crate::harness::{Guest, LONG};

async fn echo_once(listener: UnixListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    stream.write_all(b"echo ").await.unwrap();
    stream.write_all(&text).await.unwrap();
}

async fn ask(port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(LONG, read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_connection_made_while_the_server_restarts_is_kept_until_it_is_back() {
    let guest = Guest::start().await;
    let port = guest.client.info().await.unwrap().gateway_port;
    let path = guest.gateway_socket();
    let first = tokio::spawn(ask(port, "early"));
    tokio::task::yield_now().await;
    echo_once(UnixListener::bind(&path).unwrap()).await;
    assert_eq!(first.await.unwrap(), "echo early");
    // The socket file is there and refuses, as after a kill.
    let second = tokio::spawn(ask(port, "late"));
    tokio::task::yield_now().await;
    std::fs::remove_file(&path).unwrap();
    echo_once(UnixListener::bind(&path).unwrap()).await;
    assert_eq!(second.await.unwrap(), "echo late");
}
