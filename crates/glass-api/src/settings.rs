//! Settings of the server that can be changed while it runs.

use glass_types::{IdlePolicy, IdleWish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/settings`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// The idle policy of sandboxes that want nothing else.
    pub idle: IdlePolicy,
    /// How many milliseconds ahead a keepalive may be.
    pub keepalive_max_ms: u64,
}

/// `PATCH /v1/settings`: what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsParams {
    /// What to change of the idle policy. It takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleWish>,
    /// How many milliseconds ahead a keepalive may be. At most 30 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_max_ms: Option<u64>,
}
