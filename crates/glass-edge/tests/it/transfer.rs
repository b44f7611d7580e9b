//! Requests and answers arrive whole and unchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get, post};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::{Answer, Client, Site, host, read_head};

fn echo() -> Router {
    Router::new()
        .route("/", get(async || "hello from the app"))
        .route(
            "/host",
            get(async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned()),
        )
        .route("/path/{*rest}", any(async |uri: Uri| uri.to_string()))
        .route("/echo", any(async |body: Body| body))
        .route(
            "/length",
            post(async |body: bytes::Bytes| body.len().to_string()),
        )
}

#[tokio::test]
async fn hosts_decide_between_app_and_preview() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    assert_eq!(site.get(3000, "/").await.text(), "hello from the app");
    let request = Request::builder().uri("/").header("host", "localhost:8080");
    let mut client = site.http1().await;
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(Answer::read(answer).await.text(), "glasshouse");
}

#[tokio::test]
async fn http2_with_prior_knowledge_reaches_apps_that_speak_http1() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let mut client = site.http2().await;
    for (authority, text) in [
        (host(3000), host(3000)),
        ("localhost:8080".to_owned(), "glasshouse".to_owned()),
    ] {
        let uri = format!("http://{authority}/host");
        let answer = client
            .send(Request::get(uri).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(Answer::read(answer).await.text(), text);
    }
    let uri = format!("http://{}/echo", host(3000));
    let sent = vec![7_u8; 300_000];
    let request = Request::post(uri).body(Body::from(sent.clone())).unwrap();
    assert_eq!(Answer::read(client.send(request).await).await.body, sent);
}

#[tokio::test]
async fn an_absolute_target_decides_over_the_host_header() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let target = host(3000);
    let sent = format!(
        "GET http://{target}/host HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    let back = site.bytes(sent.as_bytes()).await;
    assert!(back.ends_with(&target), "{back}");
}

#[tokio::test]
async fn an_app_gets_the_target_in_the_form_that_servers_expect() {
    let site = Site::start().await;
    site.raw(3000, async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await;
        let line = head.lines().next().unwrap_or_default();
        let length = line.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{line}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let target = format!("http://{}/a?b", host(3000));
    for mut client in [site.http1().await, site.http2().await] {
        let request = Request::get(&target).header("host", host(3000));
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(Answer::read(answer).await.text(), "GET /a?b HTTP/1.1");
    }
}

#[tokio::test]
async fn paths_and_queries_stay_as_they_are() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    for path in [
        "/path/a%2Fb/%C3%A4?x=1&y=%20&&z",
        "/path//double/",
        "/path/a?",
    ] {
        assert_eq!(site.get(3000, path).await.text(), path);
    }
}

#[tokio::test]
async fn a_get_with_a_chunked_body_keeps_it() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let sent = format!(
        "GET /echo HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
        host(3000)
    );
    assert!(site.bytes(sent.as_bytes()).await.contains("hello"));
}

#[tokio::test]
async fn a_client_that_waits_for_continue_gets_it() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /length HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\
         Connection: close\r\n\r\n",
        host(3000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(
        read_head(&mut stream).await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("\r\n\r\n5"), "{rest}");
}

#[tokio::test]
async fn trailers_arrive_over_http2_and_http1() {
    let site = Site::start().await;
    let frames = async || {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "abc".parse().unwrap());
        let frames = [Frame::data("body".into()), Frame::trailers(trailers)];
        let stream = tokio_stream::iter(frames.map(Ok::<_, std::convert::Infallible>));
        let body = Body::new(StreamBody::new(stream));
        ([("trailer", "x-checksum")], body)
    };
    site.app(3000, Router::new().route("/", get(frames))).await;
    let plain = Request::get("/").header("host", host(3000));
    let absolute = Request::get(format!("http://{}/", host(3000)));
    for (mut client, request) in [(site.http1().await, plain), (site.http2().await, absolute)] {
        let request = request
            .header("te", "trailers")
            .body(Body::empty())
            .unwrap();
        let answer = Answer::read(client.send(request).await).await;
        assert_eq!(answer.text(), "body");
        assert_eq!(
            answer.trailers.expect("no trailers came")["x-checksum"],
            "abc"
        );
    }
}

#[tokio::test]
async fn answers_without_a_body_are_understood_as_such() {
    let site = Site::start().await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    site.canned(3001, head).await;
    site.canned(3002, b"HTTP/1.1 204 No Content\r\n\r\n").await;
    site.canned(
        3003,
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
    )
    .await;
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    site.canned(3004, early).await;

    let answer = site.send(3001, "/", |request| request.method("HEAD")).await;
    assert_eq!(
        (answer.header("content-length"), answer.text()),
        ("1000", "")
    );
    let answer = site.get(3002, "/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::NO_CONTENT, ""));
    let answer = site.get(3003, "/").await;
    assert_eq!(
        (answer.status, answer.header("etag")),
        (StatusCode::NOT_MODIFIED, "\"x\"")
    );
    let answer = site.get(3004, "/").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
}

#[tokio::test]
async fn an_app_that_speaks_http_1_0_keeps_the_clients_connection() {
    let site = Site::start().await;
    site.canned(
        3000,
        b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP\r\n\r\nold but fine",
    )
    .await;
    let mut client = site.http1().await;
    for _ in 0..3 {
        let request = Request::get("/").header("host", host(3000));
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(Answer::read(answer).await.text(), "old but fine");
    }
}

#[tokio::test]
async fn connections_to_an_app_are_used_again() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let mut client = site.http1().await;
    for _ in 0..20 {
        let request = Request::get("/").header("host", host(3000));
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(Answer::read(answer).await.text(), "hello from the app");
    }
    assert_eq!(site.connects(), 1);
}

/// Serves one request per connection while promising to keep it, and counts the requests.
async fn hangs_up_silently(site: &Site, port: u16) -> Arc<AtomicUsize> {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let app = move |mut stream: TcpStream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
            // Takes the next request and drops it: the worst moment to hang up.
            read_head(&mut stream).await;
        }
    };
    site.raw(port, app).await;
    requests
}

#[tokio::test]
async fn a_stale_connection_is_replaced_without_the_client_noticing() {
    let site = Site::start().await;
    let requests = hangs_up_silently(&site, 3000).await;
    for turn in 1..=5 {
        let answer = site.get(3000, "/").await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "ok"));
        assert_eq!(requests.load(Ordering::SeqCst), turn);
    }
}

#[tokio::test]
async fn a_request_that_changes_things_is_sent_once_and_never_over_a_stale_connection() {
    let site = Site::start().await;
    let requests = hangs_up_silently(&site, 3000).await;
    for turn in 1..=5 {
        let answer = site.send(3000, "/", |request| request.method("POST")).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(requests.load(Ordering::SeqCst), turn);
    }
    // One that an app drops without an answer is reported, not repeated.
    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let app = move |mut stream: TcpStream| {
        let counter = Arc::clone(&counter);
        async move {
            read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
        }
    };
    site.raw(3001, app).await;
    let answer = site.send(3001, "/", |request| request.method("POST")).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_hundred_requests_at_once_all_get_their_own_answer() {
    let site = Site::start().await;
    site.app(3000, echo()).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..100_u32 {
        let mut client: Client = site.http1().await;
        running.spawn(async move {
            let text = number.to_string().repeat(5_000);
            let request = Request::post("/echo").header("host", host(3000));
            let answer = client
                .send(request.body(Body::from(text.clone())).unwrap())
                .await;
            assert_eq!(Answer::read(answer).await.text(), text);
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_large_download_is_not_held_in_memory() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 256;
    let site = Site::start().await;
    let (made, gauge) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&made);
    let serve = async move || {
        let chunks = (0..CHUNKS).map(move |_| {
            counter.fetch_add(CHUNK, Ordering::SeqCst);
            Ok::<_, std::convert::Infallible>(bytes::Bytes::from(vec![1; CHUNK]))
        });
        Body::from_stream(tokio_stream::iter(chunks))
    };
    site.app(3000, Router::new().route("/", get(serve))).await;
    let request = Request::get("/").header("host", host(3000));
    let mut client = site.http1().await;
    let mut body = client
        .send(request.body(Body::empty()).unwrap())
        .await
        .into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        gauge.fetch_max(made.load(Ordering::SeqCst) - read, Ordering::SeqCst);
    }
    assert_eq!(read, CHUNK * CHUNKS);
    // What kernel and buffers hold between app, edge and client.
    let ahead = gauge.load(Ordering::SeqCst);
    assert!(
        ahead < 64 * CHUNK,
        "the app was {ahead} bytes ahead of the client"
    );
}
