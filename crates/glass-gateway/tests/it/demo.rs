//! The demo model in every protocol, streamed and whole.

use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::agent::{Sandbox, TOKEN, full, messages, openai};

/// The data of server-sent events.
fn data(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// All strings at `path` in the events, joined.
fn joined(events: &[Value], path: &str) -> String {
    events
        .iter()
        .filter_map(|event| event.pointer(path)?.as_str())
        .collect()
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["file_path", "content"],
        "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}},
    })
}

#[tokio::test]
async fn messages_say_the_same_streamed_and_whole() {
    let sandbox = Sandbox::demo();
    let mut body = json!({
        "model": "claude", "system": "Working directory: /w",
        "messages": [{"role": "user", "content": "create a todo app"}],
        "tools": [{"name": "Write", "input_schema": schema()}],
    });
    let (_, text) = sandbox.ask(messages(body.to_string())).await;
    let whole: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(whole["model"], "demo");
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(whole["content"][1]["input"]["file_path"], "/w/index.html");

    body["stream"] = json!(true);
    let (head, text) = sandbox.ask(messages(body.to_string())).await;
    assert_eq!(
        head.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let events = data(&text);
    assert_eq!(events[0]["type"], "message_start");
    assert_eq!(events[events.len() - 1]["type"], "message_stop");
    assert_eq!(
        joined(&events, "/delta/text"),
        whole["content"][0]["text"].as_str().unwrap()
    );
    let input: Value = serde_json::from_str(&joined(&events, "/delta/partial_json")).unwrap();
    assert_eq!(input, whole["content"][1]["input"]);
    assert_eq!(joined(&events, "/delta/stop_reason"), "tool_use");
}

#[tokio::test]
async fn chat_says_the_same_streamed_and_whole() {
    let sandbox = Sandbox::demo();
    let path = "/v1/chat/completions";
    let mut body = json!({
        "model": "gpt", "messages": [
            {"role": "system", "content": "Working directory: /w"},
            {"role": "user", "content": [{"type": "text", "text": "create a todo app"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "write", "parameters": schema()}}],
        "stream_options": {"include_usage": true},
    });
    let (_, text) = sandbox.ask(openai(path, &body)).await;
    let whole: Value = serde_json::from_str(&text).unwrap();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
        .as_str()
        .unwrap();

    body["stream"] = json!(true);
    let (_, text) = sandbox.ask(openai(path, &body)).await;
    assert!(text.ends_with("data: [DONE]\n\n"));
    let events = data(&text);
    assert_eq!(
        joined(&events, "/choices/0/delta/content"),
        choice["message"]["content"].as_str().unwrap()
    );
    assert_eq!(
        joined(&events, "/choices/0/delta/tool_calls/0/function/arguments"),
        arguments
    );
    assert_eq!(joined(&events, "/choices/0/finish_reason"), "tool_calls");
    assert!(events[events.len() - 1]["usage"]["total_tokens"].is_u64());
}

#[tokio::test]
async fn responses_say_the_same_streamed_and_whole() {
    let sandbox = Sandbox::demo();
    for (tool, delta, input) in [
        (
            json!({"type": "custom", "name": "apply_patch"}),
            "response.custom_tool_call_input.delta",
            "input",
        ),
        (
            json!({"type": "function", "name": "exec_command", "parameters": {
                "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}}),
            "response.function_call_arguments.delta",
            "arguments",
        ),
    ] {
        let mut body = json!({
            "model": "gpt", "instructions": "be good", "tools": [tool],
            "input": [
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "<environment_context>\n  <cwd>/w</cwd>\n</environment_context>"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "create a todo app"}]},
            ],
        });
        let (_, text) = sandbox.ask(openai("/v1/responses", &body)).await;
        let whole: Value = serde_json::from_str(&text).unwrap();
        assert!(
            whole["output"][1][input]
                .as_str()
                .unwrap()
                .contains("/w/index.html")
        );

        body["stream"] = json!(true);
        let (_, text) = sandbox.ask(openai("/v1/responses", &body)).await;
        let events = data(&text);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let said = |kind: &str| -> String {
            let of_kind: Vec<Value> = events
                .iter()
                .filter(|event| event["type"] == kind)
                .cloned()
                .collect();
            joined(&of_kind, "/delta")
        };
        assert_eq!(
            said("response.output_text.delta"),
            whole["output"][0]["content"][0]["text"].as_str().unwrap()
        );
        assert_eq!(said(delta), whole["output"][1][input].as_str().unwrap());
        let last = &events[events.len() - 1];
        assert_eq!(last["type"], "response.completed");
        assert_eq!(
            last["response"]["output"][1][input],
            whole["output"][1][input]
        );
    }
}

fn plain(prompt: &str, stream: bool) -> String {
    json!({"model": "demo", "stream": stream, "messages": [{"role": "user", "content": prompt}]})
        .to_string()
}

#[tokio::test]
async fn errors_come_when_asked_for() {
    let sandbox = Sandbox::demo();
    for status in [401, 429, 500] {
        let (head, text) = sandbox
            .ask(messages(plain(&format!("error {status}"), true)))
            .await;
        assert_eq!(head.status, status);
        assert!(text.contains("demo model"), "{text}");
        assert_eq!(head.headers.contains_key("retry-after"), status == 429);
    }
}

#[tokio::test]
async fn a_cut_comes_when_asked_for() {
    let sandbox = Sandbox::demo();
    for stream in [true, false] {
        let answer = sandbox.send(messages(plain("cut", stream))).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.collect().await.is_err());
    }
}

#[tokio::test]
async fn it_thinks_when_asked_to() {
    let sandbox = Sandbox::demo();
    let (_, text) = sandbox.ask(messages(plain("think", true))).await;
    assert!(joined(&data(&text), "/delta/thinking").contains("script"));
}

#[tokio::test]
async fn tokens_are_counted() {
    let sandbox = Sandbox::demo();
    let mut request = messages(plain("hello", false));
    *request.uri_mut() = "/v1/messages/count_tokens?beta=true".parse().unwrap();
    let (_, text) = sandbox.ask(request).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["input_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn it_is_the_only_model_in_either_list() {
    let sandbox = Sandbox::demo();
    let ask = |path: &str, header: &str, value: String| {
        let request = Request::get(path)
            .header(header, value)
            .body(full(""))
            .unwrap();
        sandbox.ask(request)
    };
    let (_, text) = ask("/v1/models", "x-api-key", TOKEN.to_owned()).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["data"][0]["display_name"], "Demo model");
    let (_, text) = ask("/v1/models", "authorization", format!("Bearer {TOKEN}")).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["data"][0]["object"], "model");
    let (head, _) = ask("/v1/models/demo", "x-api-key", TOKEN.to_owned()).await;
    assert_eq!(head.status, 200);
    let (head, _) = ask("/v1/models/other", "x-api-key", TOKEN.to_owned()).await;
    assert_eq!(head.status, 404);
}
