//! Anthropic Messages.

use serde_json::{Value, json};

use super::{Answer, Event, chunks, words};
use crate::DEMO_MODEL;
use crate::demo::conversation::{Conversation, Item, Tool, ToolResult, flat};
use crate::demo::reply::{Call, Input};

pub(crate) fn parse(request: &Value) -> Option<Conversation> {
    let mut system = request.get("system").map(flat).unwrap_or_default();
    let mut items = Vec::new();
    for message in request.get("messages")?.as_array()? {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("");
        let content = message.get("content").unwrap_or(&Value::Null);
        match role {
            "user" => user(content, &mut items),
            "assistant" => assistant(content, &mut items),
            // Instructions may also stand among the messages.
            "system" => {
                system.push('\n');
                system.push_str(&flat(content));
            }
            _ => {}
        }
    }
    let tools = request.get("tools").and_then(Value::as_array);
    let tools = tools.into_iter().flatten().filter_map(tool).collect();
    let format = ["/output_config/format", "/output_format"]
        .iter()
        .find_map(|path| request.pointer(path));
    Some(Conversation {
        system,
        items,
        tools,
        json: format.map(|format| format.get("schema").cloned().unwrap_or(Value::Null)),
    })
}

/// A message may carry results and new words; the results came first.
fn user(content: &Value, items: &mut Vec<Item>) {
    let blocks = content.as_array().map_or(&[][..], Vec::as_slice);
    for block in blocks {
        if kind(block) == "tool_result" {
            items.push(Item::Result(ToolResult {
                text: flat(block.get("content").unwrap_or(&Value::Null)),
                failed: block.get("is_error").and_then(Value::as_bool) == Some(true),
            }));
        }
    }
    // A prompt that was answered with an error stands in one message with the prompt after it, in a block of its own.
    let texts = match content {
        Value::String(text) => vec![text.clone()],
        _ => blocks
            .iter()
            .filter(|block| kind(block) == "text")
            .map(flat_block)
            .collect(),
    };
    items.extend(
        texts
            .into_iter()
            .filter(|text| !text.is_empty())
            .map(Item::User),
    );
}

fn flat_block(block: &Value) -> String {
    flat(block.get("text").unwrap_or(&Value::Null))
}

fn assistant(content: &Value, items: &mut Vec<Item>) {
    let blocks = content.as_array().map_or(&[][..], Vec::as_slice);
    if !flat(content).is_empty() {
        items.push(Item::Assistant);
    }
    for block in blocks {
        if kind(block) == "tool_use" {
            items.push(Item::Call);
        }
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    // Deferred tools cannot be called before they were searched for.
    if tool.get("defer_loading").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    Some(Tool {
        name: tool.get("name")?.as_str()?.to_owned(),
        schema: Some(tool.get("input_schema")?.clone()),
    })
}

fn kind(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or("")
}

pub(crate) fn whole(answer: &Answer) -> Value {
    let reply = &answer.reply;
    let mut content = Vec::new();
    if let Some(thought) = &reply.thought {
        content.push(json!({"type": "thinking", "thinking": thought, "signature": "ZGVtbw=="}));
    }
    if !reply.text.is_empty() {
        content.push(json!({"type": "text", "text": reply.text}));
    }
    if let Some(call) = &reply.call {
        content.push(json!({
            "type": "tool_use", "id": format!("toolu_{}", answer.id), "name": call.tool, "input": input(call),
        }));
    }
    message(
        answer,
        &content,
        Some(stop_reason(answer)),
        answer.output_tokens,
    )
}

fn message(answer: &Answer, content: &[Value], stop: Option<&str>, output_tokens: u64) -> Value {
    json!({
        "id": format!("msg_{}", answer.id), "type": "message", "role": "assistant", "model": DEMO_MODEL,
        "content": content, "stop_reason": stop, "stop_sequence": null,
        "usage": {
            "input_tokens": answer.input_tokens, "output_tokens": output_tokens,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        },
    })
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.reply.call.is_some() {
        "tool_use"
    } else {
        "end_turn"
    }
}

/// Tools of this protocol take objects; plain text goes where most tools expect it.
fn input(call: &Call) -> Value {
    match &call.input {
        Input::Json(value) => value.clone(),
        Input::Text(text) => json!({ "input": text }),
    }
}

pub(crate) fn events(answer: &Answer) -> Vec<Event> {
    let reply = &answer.reply;
    let mut events = Vec::new();
    let mut send = |name, data: Value| events.push(Event::named(name, &data));
    send(
        "message_start",
        json!({"type": "message_start", "message": message(answer, &[], None, 1)}),
    );
    send("ping", json!({"type": "ping"}));
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        send(
            "content_block_start",
            json!({"type": "content_block_start", "index": index, "content_block": start}),
        );
        for delta in deltas {
            send(
                "content_block_delta",
                json!({"type": "content_block_delta", "index": index, "delta": delta}),
            );
        }
        send(
            "content_block_stop",
            json!({"type": "content_block_stop", "index": index}),
        );
        index += 1;
    };
    if let Some(thought) = &reply.thought {
        let mut deltas: Vec<Value> = words(thought)
            .into_iter()
            .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
            .collect();
        deltas.push(json!({"type": "signature_delta", "signature": "ZGVtbw=="}));
        block(
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            deltas,
        );
    }
    if !reply.text.is_empty() {
        let deltas = words(&reply.text)
            .into_iter()
            .map(|piece| json!({"type": "text_delta", "text": piece}))
            .collect();
        block(json!({"type": "text", "text": ""}), deltas);
    }
    if let Some(call) = &reply.call {
        let deltas = chunks(&input(call).to_string())
            .into_iter()
            .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
            .collect();
        let start = json!({
            "type": "tool_use", "id": format!("toolu_{}", answer.id), "name": call.tool, "input": {},
        });
        block(start, deltas);
    }
    send(
        "message_delta",
        json!({
            "type": "message_delta", "delta": {"stop_reason": stop_reason(answer), "stop_sequence": null},
            "usage": {"output_tokens": answer.output_tokens},
        }),
    );
    send("message_stop", json!({"type": "message_stop"}));
    events
}
