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
    /// When it was made or pulled; milliseconds since 1970 UTC.
    pub created_at: i64,
}

/// `GET /v1/images`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageList {
    /// In order of name.
    pub images: Vec<ImageView>,
}
