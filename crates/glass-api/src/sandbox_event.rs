//! What happened to a sandbox.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One event of `GET /v1/sandboxes/{id}/events`. In a stream, the SSE `id` is its number and `event` its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SandboxEventView {
    /// Rises from event to event; not without gaps, as it counts for all sandboxes.
    pub number: u64,
    /// When it happened; milliseconds since 1970 UTC.
    pub at: i64,
    /// What kind of thing. `app_crashed`: a process of the app ended by itself.
    pub kind: String,
    /// What there is to say of it. Of `app_crashed`: `process`, `command`, `status`, `exit_code`, `signal`, `given_up`
    /// and the last `lines`.
    pub data: serde_json::Value,
}

/// `GET /v1/sandboxes/{id}/events`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SandboxEventList {
    /// The oldest first.
    pub events: Vec<SandboxEventView>,
}
