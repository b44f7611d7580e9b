//! What flows keeps flowing, both ways, and what breaks is seen to break.

use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::kit::{Answer, LONG, Site, host, read_head};

type Piece = Result<Bytes, std::io::Error>;

/// A body that is written piece by piece from outside.
fn written() -> (mpsc::UnboundedSender<Piece>, Body) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        sender,
        Body::from_stream(UnboundedReceiverStream::new(receiver)),
    )
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let site = Site::start().await;
    let (sender, body) = written();
    let body = Mutex::new(Some(body));
    let answer = move || {
        let body = body.lock().unwrap().take().unwrap();
        std::future::ready(([("content-type", "text/event-stream")], body))
    };
    let answer = std::sync::Arc::new(answer);
    site.app(3000, Router::new().route("/", get(move || answer())))
        .await;
    let request = Request::get("/").header("host", host(3000));
    let mut client = site.http1().await;
    let mut answer = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    for number in 0..5 {
        // The next event is made only after the last one was seen: a buffer anywhere would hang here.
        let event = format!("data: {number}\n\n");
        sender.send(Ok(event.clone().into())).unwrap();
        let frame = timeout(LONG, answer.body_mut().frame())
            .await
            .expect("an event was held back");
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
    }
    drop(sender);
    assert!(answer.body_mut().frame().await.is_none());
}

#[tokio::test]
async fn an_upload_and_its_answer_flow_at_the_same_time() {
    let site = Site::start().await;
    site.app(
        3000,
        Router::new().route("/", post(async |body: Body| body)),
    )
    .await;
    let plain = Request::post("/").header("host", host(3000));
    let absolute = Request::post(format!("http://{}/", host(3000)));
    for (mut client, request) in [(site.http1().await, plain), (site.http2().await, absolute)] {
        let (sender, body) = written();
        sender.send(Ok("first".into())).unwrap();
        let mut answer = client.send(request.body(body).unwrap()).await;
        for next in ["second", "third", ""] {
            let frame = timeout(LONG, answer.body_mut().frame())
                .await
                .expect("held back");
            assert!(frame.is_some_and(|frame| frame.is_ok()));
            if !next.is_empty() {
                sender.send(Ok(next.into())).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn an_app_that_dies_in_the_middle_breaks_the_transfer() {
    let site = Site::start().await;
    site.canned(
        3000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    site.canned(3001, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        .await;
    for port in [3000, 3001] {
        let plain = Request::get("/").header("host", host(port));
        let absolute = Request::get(format!("http://{}/", host(port)));
        for (mut client, request) in [(site.http1().await, plain), (site.http2().await, absolute)] {
            let answer = client.send(request.body(Body::empty()).unwrap()).await;
            let read = Answer::try_read(answer).await;
            assert!(
                read.is_err(),
                "a cut answer on port {port} looked whole: {read:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_app_learns_that_its_client_has_gone() {
    let site = Site::start().await;
    let (sender, mut gone) = mpsc::unbounded_channel();
    let app = move |mut stream: TcpStream| {
        let sender = sender.clone();
        async move {
            // Never answers, as a long poll does.
            read_head(&mut stream).await;
            let ended = stream.read_u8().await.is_err();
            sender.send(ended).unwrap();
        }
    };
    site.raw(3000, app).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host(3000));
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .unwrap();
    site.connected(1).await;
    drop(stream);
    let ended = timeout(LONG, gone.recv())
        .await
        .expect("the app was left waiting");
    assert_eq!(ended, Some(true));
}
