//! The protocols that agents speak, and the shape of an error in each.

use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::body::{Body, json};

/// Tells the SDKs of the providers not to try again.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Whose protocol a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Messages.
    Anthropic,
    /// Chat Completions and Responses.
    OpenAi,
}

impl Protocol {
    /// `anthropic` or `openai`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
        }
    }

    /// An error as the provider itself would say it, so that every agent shows its message.
    pub(crate) fn error(self, status: StatusCode, message: &str) -> Response<Body> {
        let kind = match status.as_u16() {
            400 => "invalid_request_error",
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        let body = match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            Self::OpenAi => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": kind}})
            }
        };
        let mut response = json(status, &body);
        forbid_retry(&mut response);
        response
    }
}

/// A refused credential stays refused: says so to SDKs, which otherwise retry for minutes.
pub(crate) fn forbid_retry<T>(response: &mut Response<T>) {
    if matches!(
        response.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        response
            .headers_mut()
            .entry(SHOULD_RETRY)
            .or_insert(HeaderValue::from_static("false"));
    }
}
