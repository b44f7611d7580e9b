//! `/v1/snapshots`, and what a sandbox does with them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glass_api::{
    ForkParams, RestoreParams, SandboxView, SnapshotList, SnapshotParams, SnapshotView,
};
use glass_store::SnapshotRow;
use glass_types::SnapshotId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json as Body, Path, Query};
use super::refusal;
use super::sandboxes::sandbox_id;
use crate::error::ApiError;

/// Keeps the files of a sandbox as they are now. It may run.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/snapshots", tag = "snapshots", operation_id = "take_snapshot", params(("id" = String, Path)),
    request_body = SnapshotParams,
    responses((status = 201, body = SnapshotView), refusal::TakeSnapshot)
)]
pub(super) async fn take(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<SnapshotParams>,
) -> Result<(StatusCode, Json<SnapshotView>), ApiError> {
    let id = sandbox_id(&id)?;
    let row = state.sandboxes.take_snapshot(&id, params).await?;
    Ok((StatusCode::CREATED, Json(view(row))))
}

/// Puts the files of a snapshot in the place of a sandbox's own. A sandbox that runs is stopped for it and started
/// again.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/restore", tag = "snapshots", operation_id = "restore_sandbox", params(("id" = String, Path)),
    request_body = RestoreParams,
    responses((status = 200, body = SandboxView), refusal::Restore)
)]
pub(super) async fn restore(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<RestoreParams>,
) -> Result<Json<SandboxView>, ApiError> {
    let id = sandbox_id(&id)?;
    let row = state.sandboxes.restore(&id, &params.snapshot).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Makes a new sandbox with the files, environment, limits and policies that this one has now.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/fork", tag = "snapshots", operation_id = "fork_sandbox", params(("id" = String, Path)),
    request_body = ForkParams,
    responses((status = 201, body = SandboxView), refusal::Fork)
)]
pub(super) async fn fork(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<ForkParams>,
) -> Result<(StatusCode, Json<SandboxView>), ApiError> {
    let row = state.sandboxes.fork(&sandbox_id(&id)?, params).await?;
    Ok((StatusCode::CREATED, Json(state.sandboxes.view(row))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only snapshots of this sandbox.
    sandbox: Option<String>,
}

/// Lists snapshots, the newest first.
#[utoipa::path(
    get, path = "/v1/snapshots", tag = "snapshots", operation_id = "list_snapshots", params(ListQuery),
    responses((status = 200, body = SnapshotList), refusal::List)
)]
pub(super) async fn list(
    State(state): State<super::State>,
    Query(query): Query<ListQuery>,
) -> Result<Json<SnapshotList>, ApiError> {
    let sandbox = query.sandbox.as_deref().map(sandbox_id).transpose()?;
    let rows = state.sandboxes.list_snapshots(sandbox.as_ref()).await?;
    Ok(Json(SnapshotList {
        snapshots: rows.into_iter().map(view).collect(),
    }))
}

/// Shows a snapshot.
#[utoipa::path(
    get, path = "/v1/snapshots/{id}", tag = "snapshots", operation_id = "get_snapshot", params(("id" = String, Path)),
    responses((status = 200, body = SnapshotView), refusal::Snapshot)
)]
pub(super) async fn get(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<SnapshotView>, ApiError> {
    let id: SnapshotId = id.parse()?;
    Ok(Json(view(state.sandboxes.snapshot(&id).await?)))
}

/// Removes a snapshot. Sandboxes that began with it keep their files.
#[utoipa::path(
    delete, path = "/v1/snapshots/{id}", tag = "snapshots", operation_id = "delete_snapshot", params(("id" = String, Path)),
    responses((status = 204), refusal::DeleteSnapshot)
)]
pub(super) async fn delete(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: SnapshotId = id.parse()?;
    state.sandboxes.delete_snapshot(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(row: SnapshotRow) -> SnapshotView {
    SnapshotView {
        id: row.id.to_string(),
        state: row.state.to_string(),
        sandbox: row.sandbox.map(|id| id.to_string()),
        name: row.name,
        description: row.description,
        image: row.image,
        bytes: row.bytes,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}
