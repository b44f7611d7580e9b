//! Requests to a sandbox that rests wait for it, and arrive as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures::StreamExt;
use glass_edge::{Problem, Unreachable};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;

use crate::kit::{Answer, ID, LONG, Rest, Site, host, read_head};

fn starting() -> Unreachable {
    Unreachable::AppStarting {
        sandbox: ID.parse().unwrap(),
        step: "Installing dependencies".to_owned(),
    }
}

fn low_memory() -> Problem {
    Problem {
        status: 503,
        code: "low_memory".to_owned(),
        title: "The host has not enough free memory".to_owned(),
        detail: "there is no room for this sandbox now".to_owned(),
        remedy: Some("come back later".to_owned()),
        retry_after: Some(30),
    }
}

/// Sends a request in a task of its own.
async fn send(site: &Site, request: Request<Body>) -> tokio::task::JoinHandle<Answer> {
    let mut client = site.http1().await;
    tokio::spawn(async move { Answer::read(client.send(request).await).await })
}

#[tokio::test]
async fn a_post_waits_for_the_wake_and_arrives_whole_and_once() {
    let site = Site::start().await;
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let length = async move |body: Bytes| {
        counted.fetch_add(1, Ordering::Relaxed);
        body.len().to_string()
    };
    site.app(3000, Router::new().route("/", post(length))).await;
    site.rest(Rest::Asleep);
    let body = Body::from(vec![1; 300_000]);
    let request = Request::post("/").header("host", host(3000)).body(body);
    let answer = send(&site, request.unwrap()).await;
    site.has_entered(1).await;
    assert_eq!(site.connects(), 0, "nobody connects to what sleeps");
    site.rest(Rest::Awake);
    assert_eq!(answer.await.unwrap().text(), "300000");
    assert_eq!(posts.load(Ordering::Relaxed), 1);
    let metrics = site.counters.snapshot();
    assert_eq!((metrics.held.count, metrics.proxied.count), (1, 0));
    site.used_by(0).await;
}

#[tokio::test]
async fn a_body_is_not_asked_for_before_the_sandbox_is_awake() {
    let site = Site::start().await;
    let length = async |body: Bytes| body.len().to_string();
    site.app(3000, Router::new().route("/", post(length))).await;
    site.rest(Rest::Asleep);
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        host(3000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    site.has_entered(1).await;
    let early = stream.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    site.rest(Rest::Awake);
    let interim = read_head(&mut stream).await;
    assert_eq!(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("\r\n\r\n5"), "{rest}");
}

#[tokio::test]
async fn a_websocket_waits_for_the_wake_and_keeps_the_sandbox_awake() {
    let site = Site::start().await;
    let accept = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    site.app(3000, Router::new().route("/", any(accept))).await;
    site.rest(Rest::Asleep);
    let stream = TcpStream::connect(site.address).await.unwrap();
    let url = format!("ws://{}/", host(3000));
    let socket = tokio::spawn(tokio_tungstenite::client_async(url, stream));
    site.has_entered(1).await;
    site.rest(Rest::Awake);
    let (mut socket, _) = socket.await.unwrap().unwrap();
    assert_eq!(site.uses(), 1);
    assert_eq!(site.counters.snapshot().tunnels, 1);
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        let ended = matches!(message, Ok(tungstenite::Message::Close(_)) | Err(_));
        assert!(ended, "{message:?}");
    }
    drop(socket);
    site.used_by(0).await;
    assert_eq!(site.counters.snapshot().tunnels, 0);
}

#[tokio::test]
async fn an_answer_that_goes_on_is_a_use_until_it_ends() {
    let site = Site::start().await;
    let (events, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let stream = async move || {
        let events = body.lock().unwrap().take().unwrap();
        Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(events))
    };
    site.app(3000, Router::new().route("/", get(stream))).await;
    let request = Request::get("/").header("host", host(3000));
    let mut client = site.http1().await;
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    events
        .send(Ok(Bytes::from_static(b"data: 1\n\n")))
        .await
        .unwrap();
    assert_eq!(site.uses(), 1);
    // The client goes; the app does not know yet.
    drop((answer, client));
    site.used_by(0).await;
}

#[tokio::test]
async fn every_request_is_a_use_also_over_a_pooled_connection() {
    let site = Site::start().await;
    site.app(3000, Router::new().route("/", get(async || "hello")))
        .await;
    for count in 1..=5 {
        assert_eq!(site.get(3000, "/").await.text(), "hello");
        assert_eq!(site.entered(), count);
        site.used_by(0).await;
    }
    assert_eq!(site.connects(), 1, "the connection was kept");
    assert_eq!(site.counters.snapshot().proxied.count, 5);
}

#[tokio::test]
async fn the_case_of_a_host_and_its_final_dot_change_nothing() {
    let site = Site::start().await;
    site.make_private();
    site.app(3000, Router::new().route("/", get(async || "hello")))
        .await;
    for (count, name) in [
        host(3000),
        host(3000).to_uppercase(),
        format!("3000-{ID}.Preview.LocalHost."),
        format!("3000-{ID}.preview.localhost.:8080"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = Request::get("/")
            .header("host", &name)
            .header("x-glasshouse-preview", crate::kit::PASS);
        let mut client = site.http1().await;
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        assert_eq!(site.entered(), count + 1, "{name}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_gives_up_its_use() {
    let site = Site::start().await;
    site.rest(Rest::Asleep);
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host(3000));
    stream.write_all(head.as_bytes()).await.unwrap();
    site.has_entered(1).await;
    assert_eq!((site.uses(), site.counters.snapshot().waiting), (1, 1));
    drop(stream);
    site.used_by(0).await;
    assert_eq!(site.counters.snapshot().waiting, 0);
}

#[tokio::test]
async fn all_who_wait_get_the_failure() {
    let site = Site::start().await;
    site.rest(Rest::Asleep);
    let mut riders = Vec::new();
    for accept in ["*/*", "application/json", "image/png"] {
        let request = Request::get("/")
            .header("host", host(3000))
            .header("accept", accept);
        riders.push(send(&site, request.body(Body::empty()).unwrap()).await);
    }
    site.has_entered(3).await;
    site.rest(Rest::Refused(low_memory()));
    for rider in riders {
        let answer = rider.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "30");
        assert_eq!(answer.header("x-glasshouse-edge"), "low_memory");
        let problem = answer.json();
        assert_eq!(problem["code"], "low_memory");
        assert_eq!(problem["detail"], "there is no room for this sandbox now");
        assert_eq!(problem["remedy"], "come back later");
    }
    assert_eq!(site.counters.snapshot().failed, 3);
    site.used_by(0).await;
}

#[tokio::test]
async fn a_program_is_told_to_come_back_when_it_takes_too_long() {
    let site = Site::with(|config| config.hold = Duration::from_millis(50)).await;
    site.rest(Rest::Asleep);
    let asleep = site.get(3000, "/").await;
    site.rest(Rest::Awake);
    site.app_is(Some(starting()));
    let starting = site.get(3000, "/").await;
    for (answer, code) in [(asleep, "waking"), (starting, "app_starting")] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("retry-after"), "2");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.json()["code"], code);
    }
    site.used_by(0).await;
}

#[tokio::test]
async fn a_post_waits_for_an_app_that_starts() {
    let site = Site::start().await;
    site.app_is(Some(starting()));
    let request = Request::post("/").header("host", host(3000));
    let answer = send(&site, request.body(Body::from("hello")).unwrap()).await;
    // It has been looked at more than once, and none of that was sent anywhere.
    site.connected(3).await;
    site.app(
        3000,
        Router::new().route("/", post(async |body: Bytes| body)),
    )
    .await;
    assert_eq!(answer.await.unwrap().text(), "hello");
    assert_eq!(site.counters.snapshot().held.count, 1);
}

#[tokio::test]
async fn an_app_that_has_failed_is_not_waited_for() {
    let site = Site::start().await;
    site.app_is(Some(Unreachable::AppFailed {
        sandbox: ID.parse().unwrap(),
        message: "web ended with exit code 1 five times".to_owned(),
        lines: vec!["Error: Cannot find module 'left-pad'".to_owned()],
    }));
    let answer = site.get(3000, "/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let problem = answer.json();
    assert_eq!(problem["code"], "app_failed");
    assert_eq!(problem["lines"][0], "Error: Cannot find module 'left-pad'");
}

#[tokio::test]
async fn an_app_that_hangs_up_after_a_post_gets_no_second_one() {
    let site = Site::start().await;
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    site.raw(3000, move |mut stream: TcpStream| {
        let counted = Arc::clone(&counted);
        async move {
            // Answers the first request of a connection, and hangs up upon the second; like a worker that is restarted.
            let first = read_head(&mut stream).await;
            counted.fetch_add(usize::from(first.starts_with("POST")), Ordering::Relaxed);
            if first.starts_with("GET") {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                let second = read_head(&mut stream).await;
                counted.fetch_add(usize::from(second.starts_with("POST")), Ordering::Relaxed);
            }
        }
    })
    .await;
    assert_eq!(site.get(3000, "/").await.text(), "ok");
    let answer = site.send(3000, "/", |request| request.method("POST")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(posts.load(Ordering::Relaxed), 1);
    assert_eq!(site.connects(), 2, "the POST had a connection of its own");
}

#[tokio::test]
async fn who_waits_is_let_go_when_the_edge_stops() {
    let mut site = Site::start().await;
    site.rest(Rest::Asleep);
    let request = Request::get("/").header("host", host(3000));
    let answer = send(&site, request.body(Body::empty()).unwrap()).await;
    site.has_entered(1).await;
    let drained = tokio::time::timeout(LONG, site.stop()).await;
    assert_eq!(drained.unwrap().unwrap().cut, 0);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}
