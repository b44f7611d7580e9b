//! WebSocket and other protocols pass through.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use crate::kit::{LONG, Site, host, read_head};

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

fn app() -> Router {
    let upgrade =
        async |upgrade: WebSocketUpgrade| upgrade.protocols(["vite-hmr"]).on_upgrade(echo);
    Router::new().route("/ws", get(upgrade))
}

#[tokio::test]
async fn a_websocket_echoes_through_the_edge() {
    let site = Site::start().await;
    site.app(5173, app()).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let request = Request::get(format!("ws://{}/ws", host(5173)))
        .header("host", host(5173))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header(
            "sec-websocket-key",
            tungstenite::handshake::client::generate_key(),
        )
        .header("sec-websocket-protocol", "vite-hmr")
        .body(())
        .unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "vite-hmr");
    for size in [1, 100, 1_000_000] {
        let sent = tungstenite::Message::text("x".repeat(size));
        socket.send(sent.clone()).await.unwrap();
        let back = timeout(LONG, socket.next()).await.expect("no echo came");
        assert_eq!(back.unwrap().unwrap(), sent);
    }
    socket.close(None).await.unwrap();
    let end = timeout(LONG, socket.next())
        .await
        .expect("the close was not passed on");
    assert!(
        matches!(end, Some(Ok(tungstenite::Message::Close(_)))),
        "{end:?}"
    );
}

#[tokio::test]
async fn any_protocol_may_take_over_the_connection() {
    let site = Site::start().await;
    site.raw(3000, async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await.to_lowercase();
        assert!(head.contains("upgrade: chat/1\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat/1\r\n\r\nwelcome";
        stream.write_all(answer).await.unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
    })
    .await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    // The client does not wait for the answer with its first words.
    let sent = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: chat/1\r\n\r\nhello",
        host(3000)
    );
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut back = String::new();
    timeout(LONG, stream.read_to_string(&mut back))
        .await
        .expect("the tunnel hangs")
        .unwrap();
    assert!(back.starts_with("HTTP/1.1 101 "), "{back}");
    assert!(
        back.to_lowercase().contains("upgrade: chat/1\r\n"),
        "{back}"
    );
    assert!(back.ends_with("\r\n\r\nwelcomehello"), "{back}");
}

#[tokio::test]
async fn an_app_may_decline_to_switch() {
    let site = Site::start().await;
    site.canned(
        3000,
        b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 4\r\n\r\nnope",
    )
    .await;
    let answer = site.send(3000, "/", |request| {
        request
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
    });
    let answer = answer.await;
    assert_eq!((answer.status.as_u16(), answer.text()), (426, "nope"));
}

#[tokio::test]
async fn an_app_that_switches_unasked_is_a_bad_gateway() {
    let site = Site::start().await;
    site.canned(
        3000,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    )
    .await;
    assert_eq!(site.get(3000, "/").await.status, StatusCode::BAD_GATEWAY);
}
