//! Requests go to the provider and answers come back.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use glass_gateway::{Protocol, Refusal, Usage, UsageSink};
use http::Request;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::agent::{KEY, OTHER, Sandbox, TOKEN, config, full, messages, openai};
use crate::provider::{Provider, pieces};

#[tokio::test]
async fn the_real_key_goes_out_and_the_token_stays() {
    let provider = Provider::start(|| crate::provider::json(200, "{}")).await;
    let sandbox = Sandbox::with(&provider.url);
    let mut request = messages(r#"{"model":"claude","x":[1]}"#);
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {OTHER}").parse().unwrap());
    headers.insert("connection", "close, x-hop".parse().unwrap());
    headers.insert("x-hop", "1".parse().unwrap());
    headers.insert("accept-encoding", "gzip, br".parse().unwrap());
    let (head, _) = sandbox.ask(request).await;
    assert_eq!(head.status, 200);

    let (head, body) = provider.seen().remove(0);
    assert_eq!(head.uri, "/v1/messages?beta=true");
    assert_eq!(body, br#"{"model":"claude","x":[1]}"#);
    assert_eq!(head.headers["x-api-key"], KEY);
    assert_eq!(head.headers["anthropic-beta"], "one,two");
    // Usage and refusals are read as they pass, so the answer must not be compressed.
    assert_eq!(head.headers["accept-encoding"], "identity");
    assert_eq!(head.headers["host"], provider.url["http://".len()..]);
    assert!(!head.headers.contains_key("authorization"));
    assert!(!head.headers.contains_key("x-hop"));
    let all = format!("{:?}", head.headers);
    assert!(!all.contains(TOKEN) && !all.contains(OTHER), "{all}");
}

#[tokio::test]
async fn openai_gets_a_bearer_whatever_the_base_url_ends_with() {
    let provider = Provider::start(|| crate::provider::json(200, "{}")).await;
    let sandbox = Sandbox::with(&format!("{}/v1/", provider.url));
    for path in ["/v1/chat/completions", "/v1/responses"] {
        sandbox.ask(openai(path, &json!({"model": "gpt"}))).await;
        let (head, _) = provider.seen().pop().unwrap();
        assert_eq!(head.uri, path);
        assert_eq!(head.headers["authorization"], format!("Bearer {KEY}"));
        assert!(!head.headers.contains_key("x-api-key"));
    }
}

#[tokio::test]
async fn answers_pass_byte_for_byte() {
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let sent = bytes.clone();
    let provider = Provider::start(move || {
        let mut rest = Bytes::from(sent.clone());
        let mut parts = Vec::new();
        let mut size = 1;
        while !rest.is_empty() {
            parts.push(Ok(rest.split_to(size.min(rest.len()))));
            size = size * 3 % 1009 + 1;
        }
        let mut response = pieces("text/event-stream", parts);
        // Whatever it claims to be compressed with, it is not looked into.
        let headers = response.headers_mut();
        headers.insert("content-encoding", "gzip".parse().unwrap());
        headers.insert("request-id", "r1".parse().unwrap());
        response
    })
    .await;
    let sandbox = Sandbox::with(&provider.url);
    let (head, body) = sandbox.send(messages("{}")).await.unwrap().into_parts();
    assert_eq!(head.headers["content-encoding"], "gzip");
    assert_eq!(head.headers["request-id"], "r1");
    assert_eq!(body.collect().await.unwrap().to_bytes(), bytes);
}

#[tokio::test]
async fn the_first_bytes_come_while_the_last_are_still_to_be_made() {
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    let provider = Provider::start(move || {
        let wait = wait.clone();
        let rest = stream::once(async move {
            wait.notified().await;
            Ok(Bytes::from("data: last\n\n"))
        });
        pieces("text/event-stream", vec![Ok("data: first\n\n".into())])
            .map(|first| first.chain(rest).boxed())
    })
    .await;
    let sandbox = Sandbox::with(&provider.url);
    let mut answer = sandbox.send(messages("{}")).await.unwrap();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "data: first\n\n");
    go_on.notify_one();
    let rest = answer.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "data: last\n\n");
}

#[tokio::test]
async fn a_cut_stream_is_an_error() {
    let go_on = Arc::new(Notify::new());
    let wait = go_on.clone();
    let provider = Provider::start(move || {
        let wait = wait.clone();
        let cut = stream::once(async move {
            wait.notified().await;
            Err(std::io::Error::other("cut"))
        });
        pieces("text/event-stream", vec![Ok("data: x\n\n".into())])
            .map(|first| first.chain(cut).boxed())
    })
    .await;
    let sandbox = Sandbox::with(&provider.url);
    let mut answer = sandbox.send(messages("{}")).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    go_on.notify_one();
    assert!(answer.collect().await.is_err());
}

#[tokio::test]
async fn when_the_agent_goes_the_provider_is_told() {
    struct Gone(mpsc::UnboundedSender<()>);
    impl Drop for Gone {
        fn drop(&mut self) {
            // Nobody listens once the test is over.
            let _ = self.0.send(());
        }
    }
    let (gone, mut is_gone) = mpsc::unbounded_channel();
    let provider = Provider::start(move || {
        let guard = Gone(gone.clone());
        let endless = stream::unfold(guard, |guard| async {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            Some((Ok(Bytes::from("data: x\n\n")), guard))
        });
        pieces("text/event-stream", Vec::new()).map(|_| endless.boxed())
    })
    .await;
    let sandbox = Sandbox::with(&provider.url);
    let mut answer = sandbox.send(messages("{}")).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    drop(answer);
    is_gone.recv().await.unwrap();
}

struct Counted(mpsc::UnboundedSender<Usage>);

impl UsageSink for Counted {
    fn record(&self, usage: Usage) {
        self.0.send(usage).unwrap();
    }
}

#[tokio::test]
async fn usage_is_read_as_it_passes() {
    let provider = Provider::start(|| {
        let text = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\
                    \"input_tokens\":7,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n\
                    event: message_delta\r\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\r\n\r\n";
        let parts = text.as_bytes().chunks(5).map(|part| Ok(Bytes::from(part)));
        pieces("text/event-stream", parts.collect())
    })
    .await;
    let (counted, mut usages) = mpsc::unbounded_channel();
    let counted = Arc::new(Counted(counted));
    let sandbox = Sandbox::start(config(&provider.url), Some(counted));
    sandbox.ask(messages("{}")).await;
    let usage = usages.recv().await.unwrap();
    assert_eq!(usage.protocol, Protocol::Anthropic);
    assert_eq!(usage.model.as_deref(), Some("m"));
    assert_eq!((usage.input_tokens, usage.output_tokens), (7, 42));
    assert_eq!((usage.cache_read_tokens, usage.cache_write_tokens), (3, 0));
}

#[tokio::test]
async fn usage_of_a_whole_answer_is_read() {
    let provider = Provider::start(|| {
        crate::provider::json(
            200,
            r#"{"model":"g","usage":{"prompt_tokens":5,"completion_tokens":6}}"#,
        )
    })
    .await;
    let (counted, mut usages) = mpsc::unbounded_channel();
    let counted = Arc::new(Counted(counted));
    let sandbox = Sandbox::start(config(&provider.url), Some(counted));
    sandbox
        .ask(openai("/v1/chat/completions", &json!({})))
        .await;
    let usage = usages.recv().await.unwrap();
    assert_eq!(usage.protocol, Protocol::OpenAi);
    assert_eq!((usage.input_tokens, usage.output_tokens), (5, 6));
}

#[tokio::test]
async fn the_demo_model_can_be_named_beside_a_real_one() {
    let provider = Provider::start(|| crate::provider::json(200, "{}")).await;
    let sandbox = Sandbox::with(&provider.url);
    let body = json!({"max_tokens": 1, "messages": [{"role": "user", "content": "hello"}], "model": "demo"});
    let (_, text) = sandbox.ask(messages(body.to_string())).await;
    assert!(text.contains("demo model"), "{text}");
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn the_list_of_models_is_the_providers() {
    let provider = Provider::start(|| crate::provider::json(200, r#"{"data":[]}"#)).await;
    let sandbox = Sandbox::with(&provider.url);
    let request = Request::get("/v1/models?limit=5")
        .header("host", "x")
        .header("x-api-key", TOKEN)
        .body(full(""))
        .unwrap();
    let (_, text) = sandbox.ask(request).await;
    assert_eq!(text, r#"{"data":[]}"#);
    assert_eq!(provider.seen()[0].0.uri, "/v1/models?limit=5");
}

struct Refused(mpsc::UnboundedSender<Refusal>);

impl UsageSink for Refused {
    fn refused(&self, refusal: Refusal) {
        self.0.send(refusal).unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_the_provider_s_words() {
    let provider = Provider::start(|| {
        crate::provider::json(401, r#"{"error":{"message":"invalid x-api-key"}}"#)
    })
    .await;
    let (sender, mut refusals) = mpsc::unbounded_channel();
    let sandbox = Sandbox::start(config(&provider.url), Some(Arc::new(Refused(sender))));
    let (head, body) = sandbox.ask(messages("{}")).await;
    assert_eq!(head.status, 401);
    assert_eq!(body, r#"{"error":{"message":"invalid x-api-key"}}"#);
    let refusal = refusals.recv().await.unwrap();
    assert_eq!(
        (refusal.status, refusal.message.as_str()),
        (401, "invalid x-api-key")
    );
}
