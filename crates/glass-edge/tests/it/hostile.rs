//! Clients and apps that mean no good.

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::kit::{LONG, Site, host, read_head};

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_cut() {
    let site = Site::with(|config| config.header_timeout = Duration::from_millis(200)).await;
    // Nothing; the start of either protocol's first bytes; half a head.
    for sent in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    ] {
        let start = Instant::now();
        site.bytes(sent.as_bytes()).await;
        assert!(
            start.elapsed() >= Duration::from_millis(150),
            "{sent:?} was not waited for"
        );
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{sent:?} was kept"
        );
    }
    // One byte at a time does not buy more time.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let dripped = timeout(LONG, async {
        stream.write_all(b"GET / HTTP/1.1\r\n").await?;
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            stream.write_all(b"a").await?;
        }
        #[expect(unreachable_code, reason = "names the type of the block")]
        Ok::<(), std::io::Error>(())
    });
    assert!(dripped.await.expect("a dripping client was kept").is_err());
}

#[tokio::test]
async fn a_slow_answer_is_not_a_slow_client() {
    let site = Site::with(|config| config.header_timeout = Duration::from_millis(50)).await;
    let app = async || {
        tokio::time::sleep(Duration::from_millis(400)).await;
        "late"
    };
    site.app(3000, Router::new().fallback(app)).await;
    assert_eq!(site.get(3000, "/").await.text(), "late");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let site = Site::start().await;
    site.app(3000, Router::new().fallback(async || "no")).await;
    let large = "x".repeat(70_000);
    let sent = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nX-Large: {large}\r\n\r\n",
        host(3000)
    );
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    // The edge answers before it has read everything, and hears the rest out.
    stream.write_all(sent.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    let many: String = (0..200)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let sent = format!("GET / HTTP/1.1\r\nHost: {}\r\n{many}\r\n", host(3000));
    let back = site.bytes(sent.as_bytes()).await;
    assert!(back.starts_with("HTTP/1.1 431 "), "{back}");
}

#[tokio::test]
async fn whoever_is_answered_early_may_end_and_hears_the_answer() {
    let site = Site::start().await;
    let app = async || StatusCode::PAYLOAD_TOO_LARGE;
    site.app(3000, Router::new().fallback(app)).await;
    for length in [100_usize, 1 << 20, 30 << 20] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
            host(3000)
        );
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        stream.write_all(&vec![b'x'; length]).await.unwrap();
    }
}

#[tokio::test]
async fn requests_that_two_readers_could_understand_differently_are_refused() {
    let site = Site::start().await;
    site.app(3000, Router::new().fallback(async || "no")).await;
    let host = host(3000);
    for (head, status) in [
        (
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: localhost\r\n"),
            "400",
        ),
        ("GET / HTTP/1.1\r\n".to_owned(), "400"),
        (
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n"),
            "501",
        ),
        (
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip\r\n"),
            "400",
        ),
        (
            format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n"),
            "501",
        ),
        ("nonsense\r\n".to_owned(), "400"),
    ] {
        let back = site
            .bytes(format!("{head}Connection: close\r\n\r\n").as_bytes())
            .await;
        assert!(
            back.starts_with(&format!("HTTP/1.1 {status}")),
            "{head}{back}"
        );
    }
    let back = site.bytes(b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(back.ends_with("glasshouse"), "{back}");
}

#[tokio::test]
async fn a_second_request_cannot_be_smuggled_in_a_body() {
    let site = Site::start().await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let app = move |mut stream: TcpStream| {
        let sender = sender.clone();
        async move {
            let mut all = Vec::new();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let mut buffer = [0; 4096];
            while !all.ends_with(b"0\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(read) if read > 0 => all.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            stream.write_all(answer).await.unwrap();
            sender.send(String::from_utf8(all).unwrap()).unwrap();
        }
    };
    site.raw(3000, app).await;
    let sent = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        host(3000)
    );
    let back = site.bytes(sent.as_bytes()).await;
    // Either refused, or with one length only.
    if back.starts_with("HTTP/1.1 200") {
        let seen = seen.recv().await.unwrap().to_lowercase();
        assert!(!seen.contains("content-length"), "{seen}");
        assert!(seen.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{seen}");
    } else {
        assert!(back.starts_with("HTTP/1.1 400"), "{back}");
    }
}

#[tokio::test]
async fn an_answer_with_an_endless_head_is_a_bad_gateway() {
    let site = Site::start().await;
    site.raw(3000, async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream
            .write_all(b"x-more: and more and more and more\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    site.raw(3001, async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nx-endless: ")
            .await
            .unwrap();
        while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
    })
    .await;
    // One that ends, but beyond the limit.
    site.raw(3002, async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        let large = "x".repeat(100_000);
        let answer = format!("HTTP/1.1 200 OK\r\nx-large: {large}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    for port in [3000, 3001, 3002] {
        let answer = site.get(port, "/").await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{port}");
        assert_eq!(answer.json()["code"], "bad_gateway");
    }
}
