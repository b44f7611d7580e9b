//! The edge stops without dropping what it is answering.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use glass_edge::Drained;

use crate::kit::{Answer, LONG, Site, host, read_head};

#[tokio::test]
async fn a_request_in_flight_is_finished_and_idle_connections_are_let_go() {
    let mut site = Site::start().await;
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asked_app, go_app) = (Arc::clone(&asked), Arc::clone(&go));
    let app = async move || {
        asked_app.notify_one();
        go_app.notified().await;
        "finished"
    };
    site.app(3000, Router::new().fallback(app)).await;
    let silent = TcpStream::connect(site.address).await.unwrap();
    let idle = site.http2().await;
    let mut client = site.http1().await;
    let request = Request::get("/").header("host", host(3000));
    let request = request.body(Body::empty()).unwrap();
    let answer = tokio::spawn(async move { Answer::read(client.send(request).await).await });
    timeout(LONG, asked.notified()).await.unwrap();
    let drained = site.stop();
    // The listener goes first, while the request is still being answered.
    while TcpStream::connect(site.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    assert_eq!(answer.await.unwrap().text(), "finished");
    let drained = timeout(LONG, drained)
        .await
        .expect("the edge does not stop");
    assert_eq!(drained.unwrap(), Drained { cut: 0 });
    drop((silent, idle));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cut_at_the_deadline() {
    let mut site = Site::with(|config| config.drain_timeout = Duration::from_millis(200)).await;
    let asked = Arc::new(Notify::new());
    let asked_app = Arc::clone(&asked);
    site.app(
        3000,
        Router::new().fallback(async move || {
            asked_app.notify_one();
            std::future::pending::<()>().await;
        }),
    )
    .await;
    let mut http1 = site.http1().await;
    let mut http2 = site.http2().await;
    let plain = Request::get("/").header("host", host(3000));
    let absolute = Request::get(format!("http://{}/", host(3000)));
    let (plain, absolute) = (
        plain.body(Body::empty()).unwrap(),
        absolute.body(Body::empty()).unwrap(),
    );
    let answers =
        tokio::spawn(async move { tokio::join!(http1.try_send(plain), http2.try_send(absolute)) });
    timeout(LONG, asked.notified()).await.unwrap();
    site.connected(2).await;
    let drained = timeout(LONG, site.stop())
        .await
        .expect("the edge does not stop");
    assert_eq!(drained.unwrap(), Drained { cut: 2 });
    let (plain, absolute) = answers.await.unwrap();
    assert!(plain.is_err() && absolute.is_err());
}

#[tokio::test]
async fn a_tunnel_ends_at_once() {
    let mut site = Site::start().await;
    site.raw(3000, async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let sent = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        host(3000)
    );
    stream.write_all(sent.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101"));
    let drained = timeout(Duration::from_secs(5), site.stop()).await;
    assert_eq!(
        drained.expect("a tunnel held the edge up").unwrap(),
        Drained { cut: 0 }
    );
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
}
