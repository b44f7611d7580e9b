//! OpenAI Responses.

use serde_json::{Value, json};

use super::{Answer, Event, chunks, words};
use crate::DEMO_MODEL;
use crate::demo::conversation::{Conversation, Item, Tool, ToolResult, flat, sounds_failed};
use crate::demo::reply::{Call, Input};

pub(crate) fn parse(request: &Value) -> Option<Conversation> {
    let mut system = flat(request.get("instructions").unwrap_or(&Value::Null));
    let mut items = Vec::new();
    match request.get("input")? {
        Value::String(text) => items.push(Item::User(text.clone())),
        Value::Array(inputs) => {
            for input in inputs {
                item(input, &mut system, &mut items);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    }
    let tools = request.get("tools").and_then(Value::as_array);
    let tools = tools.into_iter().flatten().filter_map(tool).collect();
    let json = request
        .pointer("/text/format")
        .filter(|format| format.get("type").and_then(Value::as_str) != Some("text"))
        .map(|format| format.get("schema").cloned().unwrap_or(Value::Null));
    Some(Conversation {
        system,
        items,
        tools,
        json,
    })
}

fn item(input: &Value, system: &mut String, items: &mut Vec<Item>) {
    match input
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("message")
    {
        "message" => {
            let text = flat(input.get("content").unwrap_or(&Value::Null));
            match input.get("role").and_then(Value::as_str).unwrap_or("") {
                "system" | "developer" => {
                    system.push('\n');
                    system.push_str(&text);
                }
                "user" => items.push(Item::User(text)),
                "assistant" => items.push(Item::Assistant),
                _ => {}
            }
        }
        "function_call" | "custom_tool_call" => items.push(Item::Call),
        "function_call_output" | "custom_tool_call_output" => {
            let text = flat(input.get("output").unwrap_or(&Value::Null));
            items.push(Item::Result(ToolResult {
                failed: sounds_failed(&text),
                text,
            }));
        }
        _ => {}
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let name = tool.get("name").and_then(Value::as_str)?.to_owned();
    match tool.get("type").and_then(Value::as_str)? {
        "function" => Some(Tool {
            name,
            schema: Some(tool.get("parameters").cloned().unwrap_or(Value::Null)),
        }),
        "custom" => Some(Tool { name, schema: None }),
        _ => None,
    }
}

pub(crate) fn whole(answer: &Answer) -> Value {
    response(answer, "completed", &outputs(answer))
}

fn response(answer: &Answer, status: &str, output: &[Value]) -> Value {
    let usage = if status == "completed" {
        json!({
            "input_tokens": answer.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        })
    } else {
        Value::Null
    };
    json!({
        "id": format!("resp_{}", answer.id), "object": "response", "created_at": answer.created, "status": status,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {}, "model": DEMO_MODEL,
        "output": output, "parallel_tool_calls": false, "temperature": 1, "tool_choice": "auto", "tools": [],
        "top_p": 1, "usage": usage,
    })
}

/// The finished items.
fn outputs(answer: &Answer) -> Vec<Value> {
    let reply = &answer.reply;
    let mut outputs = Vec::new();
    if let Some(thought) = &reply.thought {
        outputs.push(json!({
            "type": "reasoning", "id": format!("rs_{}", answer.id),
            "summary": [{"type": "summary_text", "text": thought}],
        }));
    }
    if !reply.text.is_empty() {
        outputs.push(json!({
            "type": "message", "id": format!("msg_{}", answer.id), "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
        }));
    }
    if let Some(call) = &reply.call {
        outputs.push(call_item(answer, call, "completed", None));
    }
    outputs
}

/// `payload` instead of the call's own.
fn call_item(answer: &Answer, call: &Call, status: &str, payload: Option<&str>) -> Value {
    let id = &answer.id;
    match &call.input {
        Input::Json(value) => json!({
            "type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"), "name": call.tool,
            "arguments": payload.map_or_else(|| value.to_string(), str::to_owned), "status": status,
        }),
        Input::Text(text) => json!({
            "type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": format!("call_{id}"),
            "name": call.tool, "input": payload.unwrap_or(text), "status": status,
        }),
    }
}

/// Numbers the events as they are made.
struct Log(Vec<Event>);

impl Log {
    fn send(&mut self, name: &'static str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.0.len());
        self.0.push(Event::named(name, &data));
    }
}

pub(crate) fn events(answer: &Answer) -> Vec<Event> {
    let reply = &answer.reply;
    let mut log = Log(Vec::new());
    let beginning = response(answer, "in_progress", &[]);
    log.send("response.created", json!({ "response": beginning }));
    log.send("response.in_progress", json!({ "response": beginning }));
    for (index, output) in outputs(answer).into_iter().enumerate() {
        match output["type"].as_str() {
            Some("reasoning") => reasoning(&mut log, index, &output, reply.thought.as_deref()),
            Some("message") => message(&mut log, index, &output, &reply.text),
            _ => {
                if let Some(call) = &reply.call {
                    tool_call(&mut log, index, &output, answer, call);
                }
            }
        }
    }
    let end = response(answer, "completed", &outputs(answer));
    log.send("response.completed", json!({ "response": end }));
    log.0
}

fn reasoning(log: &mut Log, index: usize, output: &Value, thought: Option<&str>) {
    let id = &output["id"];
    let start = json!({"type": "reasoning", "id": id, "summary": []});
    let thought = thought.unwrap_or_default();
    log.send(
        "response.output_item.added",
        json!({"output_index": index, "item": start}),
    );
    let place = json!({"item_id": id, "output_index": index, "summary_index": 0});
    let with = |key: &str, value: Value| {
        let mut data = place.clone();
        data[key] = value;
        data
    };
    log.send(
        "response.reasoning_summary_part.added",
        with("part", json!({"type": "summary_text", "text": ""})),
    );
    for piece in words(thought) {
        log.send(
            "response.reasoning_summary_text.delta",
            with("delta", json!(piece)),
        );
    }
    log.send(
        "response.reasoning_summary_text.done",
        with("text", json!(thought)),
    );
    log.send(
        "response.reasoning_summary_part.done",
        with("part", json!({"type": "summary_text", "text": thought})),
    );
    log.send(
        "response.output_item.done",
        json!({"output_index": index, "item": output}),
    );
}

fn message(log: &mut Log, index: usize, output: &Value, text: &str) {
    let id = &output["id"];
    let start = json!({
        "type": "message", "id": id, "status": "in_progress", "role": "assistant", "content": [],
    });
    log.send(
        "response.output_item.added",
        json!({"output_index": index, "item": start}),
    );
    let place = json!({"item_id": id, "output_index": index, "content_index": 0});
    let with = |key: &str, value: Value| {
        let mut data = place.clone();
        data[key] = value;
        data
    };
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    log.send("response.content_part.added", with("part", part("")));
    for piece in words(text) {
        log.send("response.output_text.delta", with("delta", json!(piece)));
    }
    log.send("response.output_text.done", with("text", json!(text)));
    log.send("response.content_part.done", with("part", part(text)));
    log.send(
        "response.output_item.done",
        json!({"output_index": index, "item": output}),
    );
}

fn tool_call(log: &mut Log, index: usize, output: &Value, answer: &Answer, call: &Call) {
    let (delta, done, key, payload) = match &call.input {
        Input::Json(value) => (
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "arguments",
            value.to_string(),
        ),
        Input::Text(text) => (
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
            "input",
            text.clone(),
        ),
    };
    let place = json!({"item_id": output["id"], "output_index": index});
    log.send(
        "response.output_item.added",
        json!({"output_index": index, "item": call_item(answer, call, "in_progress", Some(""))}),
    );
    for piece in chunks(&payload) {
        let mut data = place.clone();
        data["delta"] = json!(piece);
        log.send(delta, data);
    }
    let mut data = place;
    data[key] = json!(payload);
    log.send(done, data);
    log.send(
        "response.output_item.done",
        json!({"output_index": index, "item": output}),
    );
}
