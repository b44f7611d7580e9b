//! Links to private previews.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a link to a preview is to open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewLinkParams {
    /// The one port that the link opens. Without it the link opens all ports, and leads to the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub port: Option<u16>,
    /// How long the link is good, and whoever opened it may stay: from a second to 30 days. A day if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// A link that lets whoever has it see a preview, private or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewLink {
    /// To be opened in a browser.
    pub url: String,
    /// For programs, which send it in the header `X-Glasshouse-Preview`.
    pub pass: String,
    /// When it stops being good.
    pub expires_at: i64,
}
