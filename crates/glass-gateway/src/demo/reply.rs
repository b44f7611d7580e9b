//! What the demo model says next.

use http::StatusCode;
use serde_json::Value;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Reply(Reply),
    /// An error of the provider, played.
    Refusal(StatusCode),
}

/// A message of the model.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reply {
    pub(crate) thought: Option<String>,
    pub(crate) text: String,
    pub(crate) call: Option<Call>,
    pub(crate) pace: Pace,
    /// The answer breaks off in the middle.
    pub(crate) cut: bool,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) tool: String,
    pub(crate) input: Input,
}

/// What a tool is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    Json(Value),
    /// For tools that take plain text.
    Text(String),
}

/// How fast the answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pace {
    #[default]
    Quick,
    /// About twenty seconds.
    Slow,
}

impl Reply {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}
