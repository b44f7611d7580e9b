//! What is asked: the paths of the protocols.

use http::{HeaderMap, Method};

use crate::Protocol;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Is there anybody? Asked without a token.
    Hello,
    /// Anthropic Messages.
    Messages,
    /// Anthropic token counting.
    CountTokens,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
    /// The list of models, or one of them.
    Models(Protocol, Option<String>),
    /// Something else.
    Unknown(Protocol),
}

/// What there is, for those who asked for something else.
pub(crate) const PATHS: &str = "POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/chat/completions, \
                                POST /v1/responses, GET /v1/models";

impl Route {
    pub(crate) fn of(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let path = path.trim_end_matches('/');
        match (method, path) {
            (&Method::HEAD | &Method::GET, "" | "/api/hello") => Self::Hello,
            (&Method::POST, "/v1/messages") => Self::Messages,
            (&Method::POST, "/v1/messages/count_tokens") => Self::CountTokens,
            (&Method::POST, "/v1/chat/completions") => Self::Chat,
            (&Method::POST, "/v1/responses") => Self::Responses,
            (&Method::GET, "/v1/models") => Self::Models(spoken(headers), None),
            _ => match path.strip_prefix("/v1/models/") {
                Some(id) if method == Method::GET && !id.contains('/') => {
                    Self::Models(spoken(headers), Some(id.to_owned()))
                }
                _ if path.starts_with("/v1/messages") => Self::Unknown(Protocol::Anthropic),
                _ => Self::Unknown(spoken(headers)),
            },
        }
    }

    /// Whose error format the asker understands.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Hello | Self::Messages | Self::CountTokens => Protocol::Anthropic,
            Self::Chat | Self::Responses => Protocol::OpenAi,
            Self::Models(protocol, _) | Self::Unknown(protocol) => *protocol,
        }
    }
}

/// Paths that both providers have are told apart by the headers that only Anthropic's clients send.
fn spoken(headers: &HeaderMap) -> Protocol {
    if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        Protocol::Anthropic
    } else {
        Protocol::OpenAi
    }
}
