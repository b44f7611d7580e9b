//! What goes wrong is said in the provider's words.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::agent::{OTHER, Sandbox, TOKEN, full, messages, openai};
use crate::provider::{Provider, json as answer};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn only_the_sandboxes_own_token_opens() {
    let provider = Provider::start(|| answer(200, "{}")).await;
    let sandbox = Sandbox::with(&provider.url);
    for (header, value, status, word) in [
        ("x-api-key", OTHER.to_owned(), 403, "another sandbox"),
        (
            "authorization",
            format!("Bearer {OTHER}"),
            403,
            "another sandbox",
        ),
        ("x-api-key", "guess".to_owned(), 401, "not a sandbox token"),
        ("x-api-key", String::new(), 401, "no sandbox token"),
        (
            "authorization",
            format!("Basic {TOKEN}"),
            401,
            "no sandbox token",
        ),
        ("x-api-key", "broken".to_owned(), 500, "server's log"),
    ] {
        let request = Request::post("/v1/messages")
            .header(header, &value)
            .body(full("{}"))
            .unwrap();
        let (head, text) = sandbox.ask(request).await;
        assert_eq!(head.status, status, "{header}: {value}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(error["type"], "error");
        assert!(
            error["error"]["message"].as_str().unwrap().contains(word),
            "{text}"
        );
        assert_eq!(head.headers.contains_key("x-should-retry"), status != 500);
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn errors_pass_as_they_are() {
    for (status, body, retry) in [
        (
            401,
            r#"{"error":{"message":"invalid x-api-key"}}"#,
            Some("false"),
        ),
        (429, r#"{"error":{"message":"slow down"}}"#, None),
        (500, "not even JSON", None),
    ] {
        let provider = Provider::start(move || {
            let mut response = answer(status, body);
            let headers = response.headers_mut();
            headers.insert("retry-after", "7".parse().unwrap());
            response
        })
        .await;
        let sandbox = Sandbox::with(&provider.url);
        let (head, text) = sandbox.ask(messages("{}")).await;
        assert_eq!((head.status.as_u16(), text.as_str()), (status, body));
        assert_eq!(head.headers["retry-after"], "7");
        let said = head.headers.get("x-should-retry");
        assert_eq!(said.map(|value| value.to_str().unwrap()), retry);
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sandbox = Sandbox::with(&url);
    let (head, text) = sandbox.ask(messages("{}")).await;
    assert_eq!(head.status, StatusCode::BAD_GATEWAY);
    let error: Value = serde_json::from_str(&text).unwrap();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("anthropic") && message.contains("refused"),
        "{message}"
    );

    let (head, text) = sandbox
        .ask(openai("/v1/responses", &json!({"model": "gpt"})))
        .await;
    assert_eq!(head.status, StatusCode::BAD_GATEWAY);
    let error: Value = serde_json::from_str(&text).unwrap();
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("openai"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_of_33_mib_is_too_large() {
    let provider = Provider::start(|| answer(200, "{}")).await;
    for sandbox in [Sandbox::demo(), Sandbox::with(&provider.url)] {
        let (head, text) = sandbox.ask(messages(vec![b' '; 33 * MIB])).await;
        assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("32 MiB"), "{text}");
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_request_that_hides_its_size_is_too_large_as_well() {
    let provider = Provider::start(|| answer(200, "{}")).await;
    for sandbox in [Sandbox::demo(), Sandbox::with(&provider.url)] {
        let piece = Bytes::from(vec![b' '; MIB]);
        let pieces = stream::iter(0..33).map(move |_| Ok(Frame::data(piece.clone())));
        let mut request = messages("");
        *request.body_mut() = StreamBody::new(pieces).boxed_unsync();
        let (head, text) = sandbox.ask(request).await;
        assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains("32 MiB"), "{text}");
    }
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_request_just_below_the_limit_passes() {
    let provider = Provider::start(|| answer(200, "{}")).await;
    let sandbox = Sandbox::with(&provider.url);
    let (head, _) = sandbox.ask(messages(vec![b' '; 32 * MIB])).await;
    assert_eq!(head.status, 200);
    assert_eq!(provider.seen()[0].1.len(), 32 * MIB);
}

#[tokio::test]
async fn an_unknown_path_gets_the_list_of_paths() {
    let sandbox = Sandbox::demo();
    let request = Request::get("/v1/files")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(full(""))
        .unwrap();
    let (head, text) = sandbox.ask(request).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    assert!(
        text.contains("GET /v1/files") && text.contains("/v1/chat/completions"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let sandbox = Sandbox::demo();
    for body in ["", "{", "[]", "7", r#"{"messages":7}"#, "\u{0}"] {
        let (head, text) = sandbox.ask(messages(body)).await;
        assert_eq!(head.status, StatusCode::BAD_REQUEST, "{body}: {text}");
        assert!(serde_json::from_str::<Value>(&text).unwrap()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn hello_needs_no_token() {
    let sandbox = Sandbox::demo();
    for path in ["/", "/api/hello"] {
        let request = Request::head(path).body(full("")).unwrap();
        assert_eq!(sandbox.send(request).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_stop_ends_the_service_and_its_idle_connections() {
    let mut sandbox = Sandbox::demo();
    let request = Request::head("/").body(full("")).unwrap();
    sandbox.send(request).await.unwrap();
    sandbox.stop().await.unwrap();
}
