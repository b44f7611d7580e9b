//! `/v1/templates`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glass_api::{TemplateList, TemplateParams, TemplateView};

use super::extract::{Json as Body, Path};
use super::refusal;
use crate::app::templates;
use crate::error::ApiError;

/// Makes a template, or replaces the one of this name. Sandboxes that were made from it stay as they are.
#[utoipa::path(
    put, path = "/v1/templates/{name}", tag = "templates", operation_id = "put_template", params(("name" = String, Path)),
    request_body = TemplateParams,
    responses((status = 200, body = TemplateView), refusal::PutTemplate)
)]
pub(super) async fn put(
    State(state): State<super::State>,
    Path(name): Path<String>,
    Body(params): Body<TemplateParams>,
) -> Result<Json<TemplateView>, ApiError> {
    let row = templates::put(&state.sandboxes, &state.store, name, params).await?;
    Ok(Json(templates::view(row)?))
}

/// Lists templates.
#[utoipa::path(
    get, path = "/v1/templates", tag = "templates", operation_id = "list_templates",
    responses((status = 200, body = TemplateList), refusal::Plain)
)]
pub(super) async fn list(
    State(state): State<super::State>,
) -> Result<Json<TemplateList>, ApiError> {
    let rows = state.store.templates().await?;
    let templates = rows
        .into_iter()
        .map(templates::view)
        .collect::<Result<_, _>>()?;
    Ok(Json(TemplateList { templates }))
}

/// Shows a template.
#[utoipa::path(
    get, path = "/v1/templates/{name}", tag = "templates", operation_id = "get_template", params(("name" = String, Path)),
    responses((status = 200, body = TemplateView), refusal::Template)
)]
pub(super) async fn get(
    State(state): State<super::State>,
    Path(name): Path<String>,
) -> Result<Json<TemplateView>, ApiError> {
    let row = templates::existing(&state.store, &name).await?;
    Ok(Json(templates::view(row)?))
}

/// Removes a template. Its snapshot stays, and so do sandboxes that were made from it.
#[utoipa::path(
    delete, path = "/v1/templates/{name}", tag = "templates", operation_id = "delete_template", params(("name" = String, Path)),
    responses((status = 204), refusal::Template)
)]
pub(super) async fn delete(
    State(state): State<super::State>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    templates::remove(&state.store, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
