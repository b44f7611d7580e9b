use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use glass_types::SandboxId;

use super::*;
use crate::{Held, Progress, Stream};

const HOST: &str = "3000-abcdefghijklmno1.preview.localhost:8080";

/// Takes one pass.
struct Private;

#[async_trait]
impl Origins for Private {
    fn admit(&self, _: &SandboxId, _: u16, passes: &[&str]) -> Result<Admission, Unreachable> {
        if passes.is_empty() {
            return Err(Unreachable::Denied(Denied::NoPass));
        }
        let index = passes.iter().position(|pass| *pass == "good");
        let expires_in = Duration::from_secs(60);
        index
            .map(|index| Admission::Pass { index, expires_in })
            .ok_or(Unreachable::Denied(Denied::BadSignature))
    }

    async fn enter(&self, _: &SandboxId) -> Result<Box<dyn Held>, Unreachable> {
        unreachable!("admission enters nothing")
    }

    fn progress(&self, _: &SandboxId) -> BoxStream<'static, Progress> {
        futures::stream::empty().boxed()
    }

    async fn connect(&self, _: &SandboxId, _: u16) -> Result<Box<dyn Stream>, Unreachable> {
        unreachable!("admission connects to nothing")
    }
}

fn check(
    change: impl FnOnce(http::request::Builder) -> http::request::Builder,
) -> (Result<Option<Response<FromEdge>>, Unreachable>, Request<()>) {
    let origin = Origin {
        sandbox: "abcdefghijklmno1".parse().unwrap(),
        port: 3000,
    };
    let mut request = change(Request::get("/")).body(()).unwrap();
    let host = HeaderValue::from_static(HOST);
    let config = EdgeConfig::new("preview.localhost", 8080);
    let admitted = admit(&Private, &origin, &host, &config, &mut request);
    (admitted, request)
}

fn comes_in(change: impl FnOnce(http::request::Builder) -> http::request::Builder) -> bool {
    match check(change).0 {
        Ok(None) => true,
        Err(Unreachable::Denied(_)) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_becomes_a_cookie_of_this_host_and_the_same_address() {
    for (link, target) in [
        ("/?glasshouse_pass=good", "/"),
        ("/a?x=1&glasshouse_pass=good&y=%20", "/a?x=1&y=%20"),
        ("/a?glasshouse_pass=good&glasshouse_pass=2", "/a"),
        ("//evil.test/?glasshouse_pass=good", "//evil.test/"),
    ] {
        let answer = check(|request| request.uri(link)).0.unwrap().unwrap();
        assert_eq!(answer.status(), 302);
        assert_eq!(
            answer.headers()["location"],
            format!("http://{HOST}{target}")
        );
        assert_eq!(
            answer.headers()["set-cookie"],
            "glasshouse_preview=good; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
}

#[test]
fn a_bad_link_is_denied_and_sets_nothing() {
    let denied = check(|request| request.uri("/?glasshouse_pass=bad")).0;
    assert_eq!(
        denied.unwrap_err(),
        Unreachable::Denied(Denied::BadSignature)
    );
}

#[test]
fn an_old_link_does_not_shut_out_who_has_a_cookie() {
    let answer = check(|request| {
        request
            .uri("/?glasshouse_pass=old")
            .header("cookie", "glasshouse_preview=good")
    });
    let answer = answer.0.unwrap().unwrap();
    assert!(!answer.headers().contains_key("set-cookie"));
}

#[test]
fn what_cannot_be_sent_elsewhere_goes_on_without_the_pass() {
    for change in [
        |request: http::request::Builder| request.method("POST"),
        |request: http::request::Builder| {
            request
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
        },
    ] {
        let (admitted, request) =
            check(|request| change(request).uri("/ws?glasshouse_pass=good&x=1"));
        assert!(admitted.unwrap().is_none());
        assert_eq!(request.uri(), "/ws?x=1");
    }
}

#[test]
fn a_pass_comes_in_by_header_and_cookie() {
    assert!(comes_in(|r| r.header("x-glasshouse-preview", "good")));
    assert!(comes_in(
        |r| r.header("cookie", "a=1; glasshouse_preview=good; b=2")
    ));
    // Another preview can set a cookie for the whole site, and a browser sends the older of two first.
    let two = "glasshouse_preview=tossed; glasshouse_preview=good";
    assert!(comes_in(|r| r.header("cookie", two)));
    assert!(!comes_in(|r| r.header("cookie", "xglasshouse_preview=good")));
    assert!(!comes_in(|r| r));
    let long = "x".repeat(LONGEST + 1);
    assert_eq!(
        check(|r| r.header("x-glasshouse-preview", long))
            .0
            .unwrap_err(),
        Unreachable::Denied(Denied::NoPass)
    );
}

#[test]
fn a_page_of_another_sandbox_does_not_use_the_visitors_pass() {
    let with = |headers: &'static [(&str, &str)]| {
        comes_in(|mut request| {
            request = request.header("cookie", "glasshouse_preview=good");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request
        })
    };
    // A program, the app's own page, an address that was typed.
    assert!(with(&[]));
    assert!(with(&[
        ("sec-fetch-site", "same-origin"),
        ("origin", "null")
    ]));
    assert!(with(&[
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate")
    ]));
    // Another port of the same sandbox, and the console.
    assert!(with(&[(
        "origin",
        "http://5173-ABCDEFGHIJKLMNO1.preview.localhost:8080"
    )]));
    assert!(with(&[
        ("sec-fetch-site", "same-site"),
        (
            "referer",
            "http://5173-abcdefghijklmno1.preview.localhost:8080/x"
        )
    ]));
    assert!(with(&[
        ("sec-fetch-site", "cross-site"),
        ("origin", "http://localhost:8080")
    ]));
    // A link on another sandbox's page, which the visitor follows.
    assert!(with(&[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        (
            "referer",
            "http://3000-otherotherother1.preview.localhost:8080/"
        )
    ]));
    // A WebSocket, a fetch, a frame, a script and a form of another sandbox's page; and of one that hides itself.
    assert!(!with(&[(
        "origin",
        "http://3000-otherotherother1.preview.localhost:8080"
    )]));
    assert!(!with(&[("origin", "null")]));
    assert!(!with(&[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "iframe"),
        (
            "referer",
            "http://3000-otherotherother1.preview.localhost:8080/"
        )
    ]));
    assert!(!with(&[
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-mode", "no-cors")
    ]));
    assert!(!with(&[(
        "referer",
        "http://3000-otherotherother1.preview.localhost:8080/"
    )]));
    let denied = check(|request| {
        request.header("cookie", "glasshouse_preview=good").header(
            "origin",
            "http://3000-otherotherother1.preview.localhost:8080",
        )
    });
    assert_eq!(
        denied.0.unwrap_err(),
        Unreachable::Denied(Denied::OtherSite)
    );
}
