//! `/v1/sandboxes/{id}/preview-link`

use axum::Json;
use axum::extract::State;
use glass_api::{PreviewLink, PreviewLinkParams};

use super::extract::{Json as Body, Path};
use super::refusal;
use super::sandboxes::sandbox_id;
use crate::error::ApiError;

/// Makes a link that lets whoever has it see the previews of a sandbox, also when they are private.
///
/// Opening it keeps the pass in a cookie of that one host and leads to the same address without it.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/preview-link", tag = "sandboxes", operation_id = "create_preview_link",
    params(("id" = String, Path)), request_body = PreviewLinkParams,
    responses((status = 200, body = PreviewLink), refusal::PreviewLink)
)]
pub(super) async fn create(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<PreviewLinkParams>,
) -> Result<Json<PreviewLink>, ApiError> {
    let row = state.sandboxes.get(&sandbox_id(&id)?).await?;
    Ok(Json(state.sandboxes.previews().link(&row.id, &params)?))
}
