//! What an app sees of a request, and a client of an answer.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};

use crate::kit::{Answer, Site, host};

/// Answers with the headers it got, one per line.
fn mirror() -> Router {
    Router::new().fallback(async |headers: HeaderMap| {
        let lines = headers.iter().map(|(name, value)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        });
        lines.collect::<String>()
    })
}

#[tokio::test]
async fn no_credential_of_glasshouse_reaches_an_app() {
    let site = Site::start().await;
    site.app(3000, mirror()).await;
    let plain = Request::get("/").header("host", host(3000));
    let absolute = Request::get(format!("http://{}/", host(3000)));
    for (mut client, request) in [(site.http1().await, plain), (site.http2().await, absolute)] {
        let request = request
            .header("cookie", "theirs=1; glasshouse_session=topsecret")
            .header("cookie", "glasshouse_csrf=topsecret")
            .header("authorization", "Bearer gh_topsecret")
            .header("x-api-key", "gh_topsecret");
        let answer = client.send(request.body(Body::empty()).unwrap()).await;
        let seen = Answer::read(answer).await;
        assert!(!seen.text().contains("topsecret"), "{}", seen.text());
        assert!(
            seen.text().contains("cookie: theirs=1\n"),
            "{}",
            seen.text()
        );
    }
    let seen = site.send(3000, "/", |request| {
        request
            .header("authorization", "Bearer theirs")
            .header("x-api-key", "theirs")
    });
    let seen = seen.await;
    assert!(seen.text().contains("authorization: Bearer theirs\n"));
    assert!(seen.text().contains("x-api-key: theirs\n"));
}

#[tokio::test]
async fn an_app_sees_the_preview_host_and_where_the_request_came_from() {
    let site = Site::start().await;
    site.app(3000, mirror()).await;
    let seen = site.send(3000, "/", |request| {
        request
            .header("x-forwarded-for", "6.6.6.6")
            .header("x-forwarded-host", "evil.test")
            .header("forwarded", "for=6.6.6.6")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
    });
    let seen = seen.await;
    let mut lines: Vec<&str> = seen.text().lines().collect();
    lines.sort_unstable();
    let host = host(3000);
    assert_eq!(
        lines,
        [
            format!("host: {host}"),
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {host}"),
            "x-forwarded-proto: http".to_owned(),
        ]
    );
}

#[tokio::test]
async fn an_app_sets_cookies_for_itself_alone() {
    let site = Site::start().await;
    site.canned(
        3000,
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=1; Domain=localhost\r\n\
          Set-Cookie: glasshouse_session=evil\r\nSet-Cookie: c=1\r\nConnection: keep-alive, X-Hop\r\n\
          X-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let answer = site.get(3000, "/").await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "c=1"]);
    assert_eq!(
        (answer.header("x-hop"), answer.header("keep-alive")),
        ("", "")
    );
    assert_eq!(answer.text(), "ok");
}
