//! Why a turn failed, in words that name the cause and the remedy.

use serde_json::Value;

use super::TurnSpec;
use crate::clip;
use crate::wire::RpcError;

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Credential,
    Credit,
    Model,
    RateLimit,
    Unreachable,
    Provider,
    Other,
}

/// The message for a JSON-RPC error. `said` is what the agent wrote last: some write the provider's reason there only.
pub(super) fn of_error(error: &RpcError, said: &str, spec: &TurnSpec) -> String {
    let mut reason = reason(error);
    // `Authentication required` says less than the text before it.
    let bare = error.code == -32000 || reason.len() < 30;
    let said = said.trim();
    if bare && !said.is_empty() && said.len() <= clip::MESSAGE {
        reason = format!("{reason}: {said}");
    }
    let status = status_of(&error.data);
    let kind = if error.code == -32000 {
        Kind::Credential
    } else {
        kind_of(status, &reason, &error.data)
    };
    message(kind, &reason, spec)
}

/// The message when an agent ended well but what it wrote is an error of the provider.
pub(super) fn in_text(said: &str, spec: &TurnSpec) -> Option<String> {
    const STARTS: [&str; 5] = [
        "API Error",
        "Failed to authenticate",
        "Invalid API key",
        "Credit balance is too low",
        "Error: API",
    ];
    let said = said.trim();
    let is_error = STARTS.iter().any(|start| said.starts_with(start));
    is_error.then(|| message(kind_of(None, said, &Value::Null), said, spec))
}

/// The words of the error, the deepest ones where there are several.
pub(super) fn reason(error: &RpcError) -> String {
    let outer = error
        .message
        .trim()
        .trim_start_matches("Internal error:")
        .trim();
    let inner = words_in(&error.data, 0).filter(|inner| !outer.contains(inner.as_str()));
    let text = match (outer, inner) {
        ("" | "Internal error" | "Server error", Some(inner)) => inner,
        ("", None) => format!("error {}", error.code),
        (outer, Some(inner)) => format!("{outer}: {inner}"),
        (outer, None) => outer.to_owned(),
    };
    clip::clip(&text, clip::MESSAGE)
}

/// The first text under a name that says why.
fn words_in(data: &Value, depth: usize) -> Option<String> {
    const NAMES: [&str; 6] = ["message", "details", "detail", "reason", "error", "data"];
    match data {
        // A body that was put in as text is JSON itself, more often than not.
        Value::String(text) => {
            let nested = serde_json::from_str::<Value>(text).ok();
            nested
                .filter(|value| value.is_object() && depth < 4)
                .and_then(|value| words_in(&value, depth + 1))
                .or_else(|| Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        Value::Object(object) if depth < 4 => NAMES
            .iter()
            .filter_map(|name| object.get(*name))
            .find_map(|value| words_in(value, depth + 1)),
        _ => None,
    }
}

/// An HTTP status in the data.
fn status_of(data: &Value) -> Option<u64> {
    ["statusCode", "status", "status_code", "httpStatus"]
        .iter()
        .find_map(|name| data.get(*name)?.as_u64())
}

fn kind_of(status: Option<u64>, reason: &str, data: &Value) -> Kind {
    let given = data.get("errorKind").and_then(Value::as_str);
    match (given, status) {
        (Some("authentication_failed"), _) | (_, Some(401 | 403)) => return Kind::Credential,
        (Some("billing_error"), _) | (_, Some(402)) => return Kind::Credit,
        (Some("rate_limit"), _) | (_, Some(429)) => return Kind::RateLimit,
        (_, Some(404)) => return Kind::Model,
        _ => {}
    }
    let low = reason.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| low.contains(word));
    if has(&[
        "401",
        "403",
        "authenticat",
        "api key",
        "api-key",
        "unauthorized",
        "/login",
    ]) {
        Kind::Credential
    } else if has(&["credit balance", "billing", "quota"]) {
        Kind::Credit
    } else if has(&["429", "rate limit", "rate_limit", "too many requests"]) {
        Kind::RateLimit
    } else if has(&["not_found_error", "model not found", "unknown model"]) {
        Kind::Model
    } else if has(&["connect", "econn", "timed out", "timeout", "socket"]) {
        Kind::Unreachable
    } else if given == Some("server_error")
        || status.is_some_and(|status| status >= 500)
        || has(&[
            "500",
            "502",
            "503",
            "529",
            "overloaded",
            "internal server error",
        ])
    {
        Kind::Provider
    } else {
        Kind::Other
    }
}

fn message(kind: Kind, reason: &str, spec: &TurnSpec) -> String {
    let provider = spec.agent.protocol.provider();
    let reason = clip::clip(reason.trim().trim_end_matches('.'), clip::MESSAGE);
    match kind {
        Kind::Credential => format!(
            "the model provider refused the credential: {reason}. Check the {provider} API key in this server's configuration"
        ),
        Kind::Credit => format!(
            "the model provider wants payment: {reason}. Check the balance of the {provider} account whose key this server uses"
        ),
        Kind::Model => format!(
            "the model provider does not have {:?}: {reason}. Name another model",
            spec.model
        ),
        Kind::RateLimit => format!(
            "the model provider limits requests: {reason}. Wait a minute and ask again, or use another model"
        ),
        Kind::Unreachable => format!(
            "the model provider could not be reached: {reason}. Check the server's network and ask again"
        ),
        Kind::Provider => format!("the model provider failed: {reason}. Ask again"),
        Kind::Other => format!("{} failed: {reason}", spec.agent.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AgentRegistry;
    use serde_json::json;

    fn spec() -> TurnSpec {
        let registry = AgentRegistry::load(None).unwrap();
        TurnSpec {
            task: "t".into(),
            agent: registry.get("claude-code").unwrap().clone(),
            model: "m-1".into(),
            prompt: "p".into(),
            cwd: "/w".into(),
            resume_session: None,
        }
    }

    fn check(code: i64, message: &str, data: Value, said: &str, expect: &[&str]) {
        let error = RpcError {
            code,
            message: message.into(),
            data,
        };
        let text = of_error(&error, said, &spec());
        for part in expect {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn a_wrong_key_names_the_credential_and_the_providers_words() {
        check(
            -32000,
            "Authentication required",
            Value::Null,
            "Invalid API key · x",
            &["Anthropic API key", "Invalid API key · x", "configuration"],
        );
        check(
            -32603,
            "Internal error: invalid x-api-key",
            json!({"service": "session", "errorName": "APIError"}),
            "",
            &["refused the credential", "invalid x-api-key"],
        );
    }

    #[test]
    fn limits_and_failures_are_told_apart() {
        check(
            -32603,
            "x",
            json!({"errorKind": "rate_limit"}),
            "",
            &["limits requests"],
        );
        check(
            -32603,
            "API Error: 500 oops",
            Value::Null,
            "",
            &["provider failed", "oops"],
        );
        check(
            -32603,
            "no",
            json!({"statusCode": 404}),
            "",
            &["does not have \"m-1\""],
        );
        check(
            -32603,
            "connect ECONNREFUSED",
            Value::Null,
            "",
            &["could not be reached"],
        );
        check(
            -32603,
            "strange",
            Value::Null,
            "",
            &["Claude Code failed: strange"],
        );
    }

    #[test]
    fn the_reason_is_dug_out_of_the_data() {
        let body = r#"{"type":"error","error":{"type":"overloaded","message":"too busy today"}}"#;
        check(
            -32603,
            "Internal error",
            json!({"details": body}),
            "",
            &["too busy today"],
        );
        check(7, "", Value::Null, "", &["error 7"]);
    }

    #[test]
    fn an_error_as_text_is_found() {
        assert!(
            in_text("API Error: 429 slow down", &spec())
                .unwrap()
                .contains("limits")
        );
        assert_eq!(in_text("I fixed the API Error", &spec()), None);
    }
}
