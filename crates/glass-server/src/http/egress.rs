//! `/v1/sandboxes/{id}/egress`

use axum::Json;
use axum::extract::State;
use glass_api::{EgressParams, EgressRefusalList, EgressView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json as Body, Path, Query};
use super::refusal;
use super::sandboxes::sandbox_id;
use crate::error::ApiError;

/// Shows what a sandbox may reach outside.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/egress", tag = "egress", operation_id = "get_egress", params(("id" = String, Path)),
    responses((status = 200, body = EgressView), refusal::Row)
)]
pub(super) async fn get(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<EgressView>, ApiError> {
    Ok(Json(state.sandboxes.egress(&sandbox_id(&id)?).await?))
}

/// Puts another policy in force. It holds for new connections at once; those that it does not permit are cut.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/egress", tag = "egress", operation_id = "set_egress", params(("id" = String, Path)),
    request_body = EgressParams,
    responses((status = 200, body = EgressView), refusal::SetEgress)
)]
pub(super) async fn set(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<EgressParams>,
) -> Result<Json<EgressView>, ApiError> {
    let id = sandbox_id(&id)?;
    Ok(Json(state.sandboxes.set_egress(&id, &params).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct RefusalsQuery {
    /// Only refusals after the one with this number.
    #[serde(default)]
    after: i64,
    /// At most so many, 1 to 200.
    limit: Option<u64>,
}

/// Lists what a sandbox was not let out to, the newest last.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/egress/refusals", tag = "egress", operation_id = "list_egress_refusals",
    params(("id" = String, Path), RefusalsQuery),
    responses((status = 200, body = EgressRefusalList), refusal::EgressRefusals)
)]
pub(super) async fn refusals(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<RefusalsQuery>,
) -> Result<Json<EgressRefusalList>, ApiError> {
    let id = sandbox_id(&id)?;
    let list = state
        .sandboxes
        .egress_refusals(&id, query.after, query.limit);
    Ok(Json(list.await?))
}
