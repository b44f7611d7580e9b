//! The demo model: a script that plays a model, so that the whole product can be seen without any key.
//!
//! ```text
//! request ─► wire: Conversation ─► script: what next? ─► Reply ─► wire: SSE or JSON
//! ```
//!
//! It is stateless: what it does next follows from the request alone. A script is written as if the tools answered at
//! once; [`run::Run`] replays it over the results that the request already holds, and the first call without a result
//! is the reply. So every script ends: each reply adds one result, and a script makes a fixed number of calls.
//!
//! It says that it is the demo model in every turn.

mod apps;
mod change;
mod colour;
mod conversation;
mod edit;
mod intent;
mod listing;
mod markup;
mod reply;
mod run;
mod script;
mod side;
mod tools;
mod wire;

use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::{DEMO_MODEL, Protocol};
use reply::Outcome;

/// The three ways to ask, and counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Messages,
    Count,
    Chat,
    Responses,
}

impl Dialect {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Messages | Self::Count => Protocol::Anthropic,
            Self::Chat | Self::Responses => Protocol::OpenAi,
        }
    }
}

/// Answers one request.
pub(crate) fn answer(dialect: Dialect, bytes: &[u8]) -> Response<Body> {
    let protocol = dialect.protocol();
    let request: Value = match serde_json::from_slice(bytes) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("the request is not JSON: {error}");
            return protocol.error(StatusCode::BAD_REQUEST, &message);
        }
    };
    let input_tokens = bytes.len() as u64 / 4 + 1;
    if dialect == Dialect::Count {
        return body::json(StatusCode::OK, &json!({ "input_tokens": input_tokens }));
    }
    let conversation = match dialect {
        Dialect::Messages | Dialect::Count => wire::anthropic::parse(&request),
        Dialect::Chat => wire::chat::parse(&request),
        Dialect::Responses => wire::responses::parse(&request),
    };
    let Some(conversation) = conversation else {
        let message = "the request holds no messages: send a list of them";
        return protocol.error(StatusCode::BAD_REQUEST, message);
    };
    match script::next(&conversation) {
        Outcome::Refusal(status) => refusal(protocol, status),
        Outcome::Reply(reply) => {
            let answer = wire::Answer::new(reply, &request, input_tokens);
            let streamed = request.get("stream").and_then(Value::as_bool) == Some(true);
            match dialect {
                Dialect::Messages | Dialect::Count => {
                    answer.respond(streamed, wire::anthropic::events, wire::anthropic::whole)
                }
                Dialect::Chat => answer.respond(streamed, wire::chat::events, wire::chat::whole),
                Dialect::Responses => {
                    answer.respond(streamed, wire::responses::events, wire::responses::whole)
                }
            }
        }
    }
}

/// The error that the prompt asked for.
fn refusal(protocol: Protocol, status: StatusCode) -> Response<Body> {
    let message = format!(
        "the demo model answers {} because the prompt asked for it",
        status.as_u16()
    );
    let mut response = protocol.error(status, &message);
    if status == StatusCode::TOO_MANY_REQUESTS {
        response
            .headers_mut()
            .insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The demo model as a list of models, or as the model `id`.
pub(crate) fn models(protocol: Protocol, id: Option<&str>) -> Response<Body> {
    let model = match protocol {
        Protocol::Anthropic => json!({
            "type": "model", "id": DEMO_MODEL, "display_name": "Demo model", "created_at": "2026-01-01T00:00:00Z",
        }),
        Protocol::OpenAi => json!({
            "id": DEMO_MODEL, "object": "model", "created": 1_767_225_600, "owned_by": "glasshouse",
        }),
    };
    let value = match (id, protocol) {
        (Some(DEMO_MODEL), _) => model,
        (Some(id), _) => {
            let id: String = id.chars().take(200).collect();
            let message = format!("there is no model {id:?} here; there is \"{DEMO_MODEL}\"");
            return protocol.error(StatusCode::NOT_FOUND, &message);
        }
        (None, Protocol::Anthropic) => json!({
            "data": [model], "has_more": false, "first_id": DEMO_MODEL, "last_id": DEMO_MODEL,
        }),
        (None, Protocol::OpenAi) => json!({ "object": "list", "data": [model] }),
    };
    body::json(StatusCode::OK, &value)
}

#[cfg(test)]
mod tests;
