//! Connections to ports through the guest.

use glass_runtime::RuntimeError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Guest, LONG};

#[tokio::test]
async fn bytes_flow_both_ways_whoever_speaks_first_and_ends_first() {
    let guest = Guest::start().await;
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else {
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"hello ").await.unwrap();
            let mut text = Vec::new();
            stream.read_to_end(&mut text).await.unwrap();
            stream.write_all(&text).await.unwrap();
        });
        let mut stream = guest
            .runtime
            .connect(guest.client.id(), port)
            .await
            .unwrap();
        let much = vec![b'x'; 1 << 20];
        stream.write_all(&much).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(LONG, read).await.unwrap().unwrap();
        assert_eq!(&answer[..6], b"hello ");
        assert_eq!(answer.len(), much.len() + 6);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let guest = Guest::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    match guest.runtime.connect(guest.client.id(), closed).await {
        Err(RuntimeError::PortClosed { port, .. }) => assert_eq!(port, closed),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("something answered"),
    }
}
