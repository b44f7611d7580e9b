//! ACP version 1 on the wire: one JSON-RPC message per line.
//!
//! Messages are read as plain JSON values, not as typed structures: an agent of another version may add, omit or bend
//! fields, and a field that cannot be read must not cost the rest of its message.

use serde_json::{Value, json};

/// Longer lines are not read. Agents send whole files as one line, so this is generous.
const MAX_LINE: usize = 32 << 20;
/// Longer ids are not answered; no agent makes such.
const MAX_ID: usize = 256;

/// A message from the agent or, in the log of its input, to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
    },
    Response {
        id: Value,
        result: Result<Value, RpcError>,
    },
}

/// What a JSON-RPC error says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Value,
}

/// Reads a line. `None` for everything that is no message: agents print all kinds of things.
pub(crate) fn read(text: &str) -> Option<Message> {
    let text = text.trim();
    if !text.starts_with('{') || text.len() > MAX_LINE {
        return None;
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
        return None;
    };
    let id = object.remove("id").filter(is_id);
    let params = object.remove("params").unwrap_or(Value::Null);
    if let Some(Value::String(method)) = object.remove("method") {
        return Some(match id {
            Some(id) => Message::Request { id, method, params },
            None => Message::Notification { method, params },
        });
    }
    let id = id?;
    let result = match (object.remove("result"), object.remove("error")) {
        (_, Some(error)) if !error.is_null() => Err(rpc_error(error)),
        (Some(result), _) => Ok(result),
        (None, _) => return None,
    };
    Some(Message::Response { id, result })
}

fn is_id(id: &Value) -> bool {
    match id {
        Value::String(text) => text.len() <= MAX_ID,
        Value::Number(_) => true,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn rpc_error(mut error: Value) -> RpcError {
    let message = match &error {
        Value::String(text) => text.clone(),
        other => text(other, "message").unwrap_or_default().to_owned(),
    };
    RpcError {
        code: error.get("code").and_then(Value::as_i64).unwrap_or(0),
        message,
        data: error.get_mut("data").map(Value::take).unwrap_or_default(),
    }
}

pub(crate) fn request(id: &str, method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

pub(crate) fn notification(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

pub(crate) fn response(id: &Value, result: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

pub(crate) fn refusal(id: &Value, method: &str) -> String {
    let method = crate::clip::line(method);
    let error = json!({"code": -32601, "message": format!("method not found: {method}")});
    json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
}

/// A text field of an object.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// An array field of an object; empty when it is anything else.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value
        .get(field)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_nothing() {
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            "{\"id\":1}",
            "{\"id\":{},\"result\":1}",
            "{\"method\":1}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"{\"a\":".repeat(5000)), None);
    }

    #[test]
    fn the_three_kinds_are_told_apart() {
        assert!(matches!(
            read(r#"{"id":0,"method":"m"}"#),
            Some(Message::Request { .. })
        ));
        assert!(matches!(
            read(r#"{"method":"m","params":{}}"#),
            Some(Message::Notification { .. })
        ));
        let error = read(r#"{"id":"a","error":{"code":-1,"message":"x","data":{"k":1}}}"#);
        let Some(Message::Response {
            result: Err(error), ..
        }) = error
        else {
            panic!("{error:?}");
        };
        assert_eq!((error.code, error.message.as_str()), (-1, "x"));
        assert_eq!(error.data["k"], 1);
    }

    #[test]
    fn a_null_result_is_a_result() {
        let read = read(r#"{"id":"a","result":null}"#);
        assert!(matches!(
            read,
            Some(Message::Response {
                result: Ok(Value::Null),
                ..
            })
        ));
    }
}
