//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::{Answer, Event, chunks, words};
use crate::DEMO_MODEL;
use crate::demo::conversation::{Conversation, Item, Tool, ToolResult, flat, sounds_failed};
use crate::demo::reply::{Call, Input};

pub(crate) fn parse(request: &Value) -> Option<Conversation> {
    let mut system = String::new();
    let mut items = Vec::new();
    for message in request.get("messages")?.as_array()? {
        let text = flat(message.get("content").unwrap_or(&Value::Null));
        match message.get("role").and_then(Value::as_str).unwrap_or("") {
            "system" | "developer" => {
                system.push_str(&text);
                system.push('\n');
            }
            "user" => items.push(Item::User(text)),
            "assistant" => {
                items.push(Item::Assistant);
                let calls = message.get("tool_calls").and_then(Value::as_array);
                items.extend(calls.into_iter().flatten().map(|_| Item::Call));
            }
            "tool" => items.push(Item::Result(ToolResult {
                failed: sounds_failed(&text),
                text,
            })),
            _ => {}
        }
    }
    let tools = request.get("tools").and_then(Value::as_array);
    let tools = tools
        .into_iter()
        .flatten()
        .filter_map(|tool| {
            let function = tool.get("function")?;
            Some(Tool {
                name: function.get("name")?.as_str()?.to_owned(),
                schema: Some(function.get("parameters").cloned().unwrap_or(Value::Null)),
            })
        })
        .collect();
    let json = request
        .get("response_format")
        .filter(|format| format.get("type").and_then(Value::as_str) != Some("text"))
        .map(|format| {
            format
                .pointer("/json_schema/schema")
                .cloned()
                .unwrap_or(Value::Null)
        });
    Some(Conversation {
        system,
        items,
        tools,
        json,
    })
}

/// Functions take JSON in a string.
fn arguments(call: &Call) -> String {
    match &call.input {
        Input::Json(value) => value.to_string(),
        Input::Text(text) => json!({ "input": text }).to_string(),
    }
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.reply.call.is_some() {
        "tool_calls"
    } else {
        "stop"
    }
}

fn usage(answer: &Answer) -> Value {
    json!({
        "prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    })
}

pub(crate) fn whole(answer: &Answer) -> Value {
    let reply = &answer.reply;
    let mut message = json!({"role": "assistant", "content": reply.text, "refusal": null});
    if let Some(thought) = &reply.thought {
        message["reasoning_content"] = json!(thought);
    }
    if let Some(call) = &reply.call {
        message["tool_calls"] = json!([{
            "id": format!("call_{}", answer.id), "type": "function",
            "function": {"name": call.tool, "arguments": arguments(call)},
        }]);
    }
    json!({
        "id": format!("chatcmpl-{}", answer.id), "object": "chat.completion", "created": answer.created,
        "model": DEMO_MODEL, "usage": usage(answer),
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer)}],
    })
}

pub(crate) fn events(answer: &Answer) -> Vec<Event> {
    let reply = &answer.reply;
    let mut events = Vec::new();
    let chunk = |choices: Value| {
        json!({
            "id": format!("chatcmpl-{}", answer.id), "object": "chat.completion.chunk", "created": answer.created,
            "model": DEMO_MODEL, "choices": choices,
        })
    };
    let mut send = |delta: Value, finish: Option<&str>, paced: bool| {
        let data = chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]));
        events.push(Event {
            name: None,
            data: data.to_string(),
            delta: paced,
        });
    };
    send(json!({"role": "assistant", "content": ""}), None, false);
    for piece in reply.thought.iter().flat_map(|thought| words(thought)) {
        send(json!({ "reasoning_content": piece }), None, true);
    }
    for piece in words(&reply.text) {
        send(json!({ "content": piece }), None, true);
    }
    if let Some(call) = &reply.call {
        let start = json!({"tool_calls": [{
            "index": 0, "id": format!("call_{}", answer.id), "type": "function",
            "function": {"name": call.tool, "arguments": ""},
        }]});
        send(start, None, false);
        for piece in chunks(&arguments(call)) {
            let delta = json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
            send(delta, None, true);
        }
    }
    send(json!({}), Some(finish_reason(answer)), false);
    if answer.include_usage {
        let mut data = chunk(json!([]));
        data["usage"] = usage(answer);
        events.push(Event {
            name: None,
            data: data.to_string(),
            delta: false,
        });
    }
    events.push(Event {
        name: None,
        data: "[DONE]".to_owned(),
        delta: false,
    });
    events
}
