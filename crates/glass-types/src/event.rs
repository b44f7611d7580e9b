//! What happened in a turn, one numbered entry at a time. The log of events is the chat.
//!
//! These types are serializable, unlike the others here: the JSON form is what the table keeps and what the API sends,
//! so it is a promise to both.

use serde::{Deserialize, Serialize};

/// One entry of a task's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The task moved on: `sandbox starting`, `agent starting`, `working`, …
    Status {
        /// A short sentence for people.
        message: String,
    },
    /// A piece of the agent's answer, in order.
    Text {
        /// Markdown, to be appended to what came before.
        delta: String,
    },
    /// A piece of the agent's thinking, in order.
    Thought {
        /// Markdown, to be appended to what came before.
        delta: String,
    },
    /// A tool call began or changed. Fields that are `None` or empty keep their last value.
    Tool {
        /// The same for all events of one call.
        call: String,
        /// What the agent calls it for people: `Write index.html`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// ACP kind: `read`, `edit`, `execute`, `search`, `fetch`, `think`, `other`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// How far it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<ToolStatus>,
        /// Files it touches, as paths in the sandbox.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        paths: Vec<String>,
        /// Changes it makes to files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        diffs: Vec<DiffView>,
        /// What it printed. Replaces what earlier events of the call said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// Its input as JSON text, when the agent shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<String>,
    },
    /// The agent's to-do list, whole.
    Plan {
        /// In the agent's order.
        entries: Vec<PlanEntry>,
    },
    /// Tokens and cost so far in this turn, as the agent counts them.
    Usage {
        /// Tokens of the context window in use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used_tokens: Option<u64>,
        /// Size of the context window in tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context_tokens: Option<u64>,
        /// Tokens sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_tokens: Option<u64>,
        /// Tokens received.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tokens: Option<u64>,
        /// Cost in US dollars at list price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<f64>,
    },
    /// The app's preview answers (or no longer does).
    Preview {
        /// The port in the sandbox.
        port: u16,
        /// The URL, or `None` when the port has closed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// The last event of every task.
    End {
        /// Why it ended.
        reason: EndReason,
        /// What people should know: the provider's reason, what to do next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}

/// How far a tool call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// Announced; its arguments may still be coming.
    Pending,
    /// Running.
    InProgress,
    /// Done.
    Completed,
    /// Done, with an error, or never finished.
    Failed,
}

/// A change to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DiffView {
    /// The file in the sandbox.
    pub path: String,
    /// Its text before, `None` for a new file.
    pub old_text: Option<String>,
    /// Its text after.
    pub new_text: String,
}

/// One line of the agent's to-do list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlanEntry {
    /// What is to be done.
    pub content: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
}

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The agent said it was done.
    Completed,
    /// It hit a limit of tokens or of requests.
    Limit,
    /// The model refused.
    Refused,
    /// Somebody cancelled it.
    Cancelled,
    /// It failed; the message says why.
    Failed,
}
