//! Images that sandboxes start from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// `name` or `name:tag`.
    pub name: String,
    /// Digest of its manifest: `sha256:…`.
    pub digest: String,
    /// Bytes of its unpacked layers.
    pub size_bytes: u64,
    /// When it was made, as the image says, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// `GET /v1/images`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageList {
    /// In order of name.
    pub images: Vec<ImageView>,
}
