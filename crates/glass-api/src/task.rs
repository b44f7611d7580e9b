//! Tasks: one turn of an agent in a sandbox.

use glass_types::Event;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ModelView;

/// `POST /v1/sandboxes/{id}/tasks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskParams {
    /// What the agent is to do. At most 1 MiB.
    pub prompt: String,
    /// Which agent: the one of the sandbox's last task unless given, at first the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Which model; the agent's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Its sandbox.
    pub sandbox: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub status: String,
    /// What it was asked.
    pub prompt: String,
    /// Which agent works on it.
    pub agent: String,
    /// With which model.
    pub model: ModelView,
    /// What the agent said last, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Preview URL of the sandbox's app.
    pub url: String,
    /// When it was given; milliseconds since 1970 UTC.
    pub created_at: i64,
    /// When it ended; milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
}

/// `GET /v1/sandboxes/{id}/tasks`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// The newest first.
    pub tasks: Vec<TaskView>,
}

/// One event of `GET /v1/tasks/{id}/events`. The SSE `id` is the event's number, `event` is its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// 1, 2, 3, … within the task, without a gap.
    pub id: u64,
    /// When it was stored; milliseconds since 1970 UTC.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
