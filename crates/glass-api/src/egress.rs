//! What a sandbox may reach outside.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `PUT /v1/sandboxes/{id}/egress`, and a field of a new sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressParams {
    /// `open`: the internet. `allowlist`: what a rule names. `none`: nothing. `default`: what the server's configuration
    /// says. Whatever it is, private addresses are reached only where the operator made an exception.
    pub mode: String,
    /// Of mode `allowlist`: `github.com`, `*.npmjs.org`, `db.example.com:5432,6432`, `93.184.216.0/24:22`,
    /// `[2606:2800::/32]:443`. Ports are 80 and 443 unless given. At most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// `GET /v1/sandboxes/{id}/egress`: what is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressView {
    /// `open`, `allowlist` or `none`.
    pub mode: String,
    /// What `allowlist` permits.
    pub rules: Vec<String>,
    /// The sandbox has no policy of its own; this is the server's.
    pub is_default: bool,
    /// Whether the runtime can hold the sandbox to it. The sim runtime cannot: its sandboxes have the host's network.
    pub is_enforced: bool,
}

/// Something that was not let out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressRefusalView {
    /// Grows from one refusal to the next.
    pub number: i64,
    /// When; milliseconds since 1970 UTC.
    pub at: i64,
    /// Who asked, as `name[pid]`, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The host that was asked for.
    pub host: String,
    /// Its port; 53 for a question for the name.
    pub port: u16,
    /// What refused it: `allowlist`, `mode_none`, `private`, `link_local`, `tls_name`, …
    pub rule: String,
}

/// `GET /v1/sandboxes/{id}/egress/refusals`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressRefusalList {
    /// The newest last. The same refusal again within seconds is there once, and the oldest are forgotten.
    pub refusals: Vec<EgressRefusalView>,
    /// There are more: ask again with `after` set to the last number.
    pub has_more: bool,
}
