//! Plain HTTP under a list of hosts: each request of a connection is for the host that the connection was opened for.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::agent::Sandbox;
use crate::egress_policy::{LONG, ends, list, named, refused};
use crate::outside::{Answer, connect};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A tunnel to a host on the list, and the other end of it.
async fn tunnel() -> (Sandbox, String, Answer, BufReader<TcpStream>) {
    let (listener, target, sandbox) = named(|port| list(&[&format!("localhost:{port}")])).await;
    let answer = connect(&sandbox, &target).await;
    assert_eq!(answer.status, 200, "{}", answer.line);
    let (outside, _) = listener.accept().await.unwrap();
    (sandbox, target, answer, BufReader::new(outside))
}

/// The head of a message.
async fn head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = tokio::time::timeout(LONG, stream.read_line(&mut head)).await;
        assert_ne!(read.unwrap().unwrap(), 0, "{head}");
    }
    head
}

async fn body(stream: &mut (impl AsyncReadExt + Unpin), length: usize) -> Vec<u8> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    body
}

#[tokio::test]
async fn a_second_request_for_another_host_is_refused_and_logged() {
    let (sandbox, target, mut inside, mut outside) = tunnel().await;
    let good = format!("POST /a HTTP/1.1\r\nHost: {target}\r\nContent-Length: 5\r\n\r\nhello");
    for evil in [
        "GET /b HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
        format!("GET http://evil.example/b HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        format!("GET /b HTTP/1.1\r\nHost: {target}\r\nHost: evil.example\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
    ] {
        // Both at once, as one who wants to slip through does.
        let words = format!("{good}{evil}");
        inside.stream.write_all(words.as_bytes()).await.unwrap();
        let heard = head(&mut outside).await;
        assert!(heard.starts_with("POST /a HTTP/1.1\r\n"), "{heard}");
        assert_eq!(body(&mut outside, 5).await, b"hello");
        outside.write_all(OK).await.unwrap();
        assert_eq!(
            head(&mut inside.stream).await.as_bytes(),
            &OK[..OK.len() - 2]
        );
        assert_eq!(body(&mut inside.stream, 2).await, b"ok");

        let refusal = head(&mut inside.stream).await;
        assert!(refusal.starts_with("HTTP/1.1 403 "), "{refusal}");
        let length = refusal
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap();
        let problem = body(&mut inside.stream, length).await;
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(problem["rule"], "http_host", "{problem}");
    }
    let log = refused(&sandbox, 4).await;
    assert!(
        log.iter()
            .all(|one| one.1 == "localhost" && one.3 == "http_host"),
        "{log:?}"
    );
    drop(inside);
    assert_eq!(ends(&mut outside).await, b"", "something got through");
}

#[tokio::test]
async fn no_method_and_no_empty_line_hides_the_host() {
    for words in [
        "PROPFIND / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ] {
        let (sandbox, _, mut inside, mut outside) = tunnel().await;
        inside.stream.write_all(words.as_bytes()).await.unwrap();
        assert_eq!(ends(&mut inside.stream).await, b"");
        assert_eq!(ends(&mut outside).await, b"", "something got through");
        assert_eq!(refused(&sandbox, 1).await[0].3, "http_host");
    }
    let (_sandbox, target, mut inside, mut outside) = tunnel().await;
    let words = format!("PROPFIND /x HTTP/1.1\r\nHost: {target}\r\nX-As-Is: 1\r\n\r\n");
    inside.stream.write_all(words.as_bytes()).await.unwrap();
    assert_eq!(head(&mut outside).await, words);
}

#[tokio::test]
async fn the_end_of_the_outside_is_the_end_of_the_tunnel() {
    let (_sandbox, target, mut inside, mut outside) = tunnel().await;
    let words = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
    inside.stream.write_all(words.as_bytes()).await.unwrap();
    head(&mut outside).await;
    outside
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        .await
        .unwrap();
    drop(outside);
    head(&mut inside.stream).await;
    let rest = String::from_utf8(ends(&mut inside.stream).await).unwrap();
    assert!(rest.contains("until the end"), "{rest}");
}

#[tokio::test]
async fn websocket_goes_on_as_bytes() {
    let (_sandbox, target, mut inside, mut outside) = tunnel().await;
    let words = format!(
        "GET /chat HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: x\r\n\r\nearly"
    );
    inside.stream.write_all(words.as_bytes()).await.unwrap();
    let heard = head(&mut outside).await.to_ascii_lowercase();
    for line in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-key: x\r\n",
    ] {
        assert!(heard.contains(line), "{heard}");
    }
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: y\r\n\r\nfirst";
    outside.write_all(switch.as_bytes()).await.unwrap();
    let heard = head(&mut inside.stream).await.to_ascii_lowercase();
    assert!(heard.starts_with("http/1.1 101 "), "{heard}");
    for line in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-accept: y\r\n",
    ] {
        assert!(heard.contains(line), "{heard}");
    }
    assert_eq!(body(&mut inside.stream, 5).await, b"first");
    assert_eq!(body(&mut outside, 5).await, b"early");
    // What looks like a request is none here.
    let frame = b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";
    inside.stream.write_all(frame).await.unwrap();
    assert_eq!(body(&mut outside, frame.len()).await, frame);
    inside.stream.shutdown().await.unwrap();
    assert_eq!(ends(&mut outside).await, b"");
    outside.write_all(b"last").await.unwrap();
    drop(outside);
    assert_eq!(ends(&mut inside.stream).await, b"last");
}

#[tokio::test]
async fn no_other_protocol_follows() {
    let (_sandbox, target, mut inside, mut outside) = tunnel().await;
    let words = format!(
        "GET / HTTP/1.1\r\nHost: {target}\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    );
    inside.stream.write_all(words.as_bytes()).await.unwrap();
    let heard = head(&mut outside).await;
    assert_eq!(heard, format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    // Whoever switches nevertheless is not followed.
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    outside.write_all(switch).await.unwrap();
    let rest = String::from_utf8(ends(&mut inside.stream).await).unwrap();
    assert!(!rest.contains(" 101 "), "{rest}");
}
