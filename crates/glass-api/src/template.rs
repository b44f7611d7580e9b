//! Templates: what new sandboxes can begin with.

use std::collections::BTreeMap;

use glass_types::IdleWish;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{EgressParams, LimitsParams};

/// `PUT /v1/templates/{name}`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateParams {
    /// What it is, for people; at most 2000 characters.
    pub description: String,
    /// The snapshot whose files its sandboxes begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The image its sandboxes begin with, when there is no snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Manifest of its app (`glasshouse.yaml`), for people and programs that choose a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What its sandboxes have unless their owner wants otherwise.
    pub defaults: TemplateDefaults,
    /// Digest of what it was built from, so that a builder can tell whether it is up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What the sandboxes of a template have unless their owner wants otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateDefaults {
    /// Environment of every process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Kernel limits.
    pub limits: LimitsParams,
    /// When an idle one goes to rest.
    pub idle: IdleWish,
    /// `throw-away` or `writable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// `container`, `gvisor` or `microvm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// What they may reach outside; what the server's configuration says unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressParams>,
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// The snapshot whose files its sandboxes begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The image below them.
    pub image: String,
    /// Manifest of its app (`glasshouse.yaml`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What its sandboxes have unless their owner wants otherwise.
    pub defaults: TemplateDefaults,
    /// Digest of what it was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it was made; milliseconds since 1970 UTC.
    pub created_at: i64,
}

/// `GET /v1/templates`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateList {
    /// In order of name.
    pub templates: Vec<TemplateView>,
}
