//! `/v1/sandboxes`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use glass_api::{
    CreateParams, KeepaliveParams, KeepaliveView, PortList, PortView, Problem, SandboxList,
    SandboxPatch, SandboxView, StatsView,
};
use glass_types::SandboxId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json as Body, Path, Query};
use super::refusal;
use crate::error::ApiError;

/// Makes a sandbox and answers when it runs.
#[utoipa::path(
    post, path = "/v1/sandboxes", tag = "sandboxes", operation_id = "create_sandbox", request_body = CreateParams,
    responses((status = 201, body = SandboxView), refusal::Create)
)]
pub(super) async fn create(
    State(state): State<super::State>,
    Body(params): Body<CreateParams>,
) -> Result<(StatusCode, Json<SandboxView>), ApiError> {
    let row = state.sandboxes.create(params).await?;
    Ok((StatusCode::CREATED, Json(state.sandboxes.view(row))))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only sandboxes with this label: `name=value`.
    label: Option<String>,
}

/// Lists sandboxes, the newest first.
#[utoipa::path(
    get, path = "/v1/sandboxes", tag = "sandboxes", operation_id = "list_sandboxes", params(ListQuery),
    responses((status = 200, body = SandboxList), refusal::List)
)]
pub(super) async fn list(
    State(state): State<super::State>,
    Query(query): Query<ListQuery>,
) -> Result<Json<SandboxList>, ApiError> {
    let label = match &query.label {
        None => None,
        Some(label) => Some(
            label
                .split_once('=')
                .ok_or_else(|| Problem::field("label", label, "give it as name=value"))?,
        ),
    };
    let rows = state.sandboxes.list().await?;
    let matching = rows.into_iter().filter(|row| {
        label.is_none_or(|(name, value)| row.labels.get(name).is_some_and(|v| v == value))
    });
    Ok(Json(SandboxList {
        sandboxes: matching.map(|row| state.sandboxes.view(row)).collect(),
    }))
}

/// Shows a sandbox.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}", tag = "sandboxes", operation_id = "get_sandbox", params(("id" = String, Path)),
    responses((status = 200, body = SandboxView), refusal::Row)
)]
pub(super) async fn get(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<SandboxView>, ApiError> {
    let row = state.sandboxes.get(&sandbox_id(&id)?).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Removes a sandbox with its files and tasks.
#[utoipa::path(
    delete, path = "/v1/sandboxes/{id}", tag = "sandboxes", operation_id = "delete_sandbox", params(("id" = String, Path)),
    responses((status = 204), refusal::End)
)]
pub(super) async fn destroy(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.sandboxes.destroy(&sandbox_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a sandbox that is stopped, frozen or failed.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/start", tag = "sandboxes", operation_id = "start_sandbox", params(("id" = String, Path)),
    responses((status = 200, body = SandboxView), refusal::Start)
)]
pub(super) async fn start(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<SandboxView>, ApiError> {
    let row = state.sandboxes.start(&sandbox_id(&id)?).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Ends all processes of a sandbox. Its files stay.
///
/// Requests that are under way have a second to end; those that come later wait and wake it again.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/stop", tag = "sandboxes", operation_id = "stop_sandbox", params(("id" = String, Path)),
    responses((status = 200, body = SandboxView), refusal::End)
)]
pub(super) async fn stop(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<SandboxView>, ApiError> {
    let row = state.sandboxes.stop(&sandbox_id(&id)?).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Takes the CPU from a sandbox that nobody uses; its memory stays. The next use gives it back.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/freeze", tag = "sandboxes", operation_id = "freeze_sandbox", params(("id" = String, Path)),
    responses((status = 200, body = SandboxView), refusal::End)
)]
pub(super) async fn freeze(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<SandboxView>, ApiError> {
    let row = state.sandboxes.freeze(&sandbox_id(&id)?).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Changes labels, idle policy, visibility or limits of a sandbox.
///
/// Idle policy, visibility and labels take effect at once, limits at the next start.
#[utoipa::path(
    patch, path = "/v1/sandboxes/{id}", tag = "sandboxes", operation_id = "edit_sandbox", params(("id" = String, Path)),
    request_body = SandboxPatch, responses((status = 200, body = SandboxView), refusal::Edit)
)]
pub(super) async fn edit(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(patch): Body<SandboxPatch>,
) -> Result<Json<SandboxView>, ApiError> {
    let row = state.sandboxes.edit(&sandbox_id(&id)?, patch).await?;
    Ok(Json(state.sandboxes.view(row)))
}

/// Keeps a sandbox from resting until a time.
///
/// The answer says what is in force: a time that is too far ahead is shortened, and one that is before another keepalive
/// changes nothing.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/keepalive", tag = "sandboxes", operation_id = "keep_sandbox_alive", params(("id" = String, Path)),
    request_body = KeepaliveParams, responses((status = 200, body = KeepaliveView), refusal::Edit)
)]
pub(super) async fn keepalive(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<KeepaliveParams>,
) -> Result<Json<KeepaliveView>, ApiError> {
    let id = sandbox_id(&id)?;
    Ok(Json(state.sandboxes.keep_alive(&id, params).await?))
}

/// Shows what a sandbox uses, who uses it, and what becomes of it next. Asking is no use.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/stats", tag = "sandboxes", operation_id = "sandbox_stats", params(("id" = String, Path)),
    responses((status = 200, body = StatsView), refusal::Row)
)]
pub(super) async fn stats(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<StatsView>, ApiError> {
    Ok(Json(state.sandboxes.stats(&sandbox_id(&id)?).await?))
}

/// Lists the ports on which something listens, and those that were asked for at creation.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/ports", tag = "sandboxes", operation_id = "list_ports", params(("id" = String, Path)),
    responses((status = 200, body = PortList), refusal::Guest)
)]
pub(super) async fn ports(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<PortList>, ApiError> {
    let id = sandbox_id(&id)?;
    let row = state.sandboxes.get(&id).await?;
    // Nothing listens in a sandbox that rests, and to say so wakes nobody.
    let open = match state.sandboxes.guest(&id).await {
        Ok(guest) => guest.ports().await?,
        Err(_) => Vec::new(),
    };
    let view = |port, open, process| PortView {
        port,
        open,
        url: state.sandboxes.previews().url(&id, port),
        process,
    };
    let mut ports: Vec<PortView> = open
        .into_iter()
        .map(|port| view(port.port, true, port.process))
        .collect();
    for port in row.ports {
        if !ports.iter().any(|known| known.port == port) {
            ports.push(view(port, false, None));
        }
    }
    ports.sort_by_key(|port| port.port);
    ports.dedup_by_key(|port| port.port);
    Ok(Json(PortList { ports }))
}

/// Parses an id from the path; what is no id cannot be a sandbox, either.
pub(super) fn sandbox_id(text: &str) -> Result<SandboxId, ApiError> {
    text.parse().map_err(|_| {
        let problem = Problem::new(
            glass_api::Code::SandboxNotFound,
            format!("sandbox {text:?} was not found"),
        );
        problem
            .with_remedy("`glasshouse ps` lists the sandboxes that there are")
            .into()
    })
}
