//! The app of a sandbox, its processes and what they print.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::StreamExt;
use glass_api::{AppHealthView, AppProcessView, AppView, Code, LogLine, Problem};
use glass_guest_protocol::app::{AppAction, AppLogsRequest, AppProcess, AppStatus};
use glass_guest_protocol::connect::Code as GuestCode;
use glass_runtime::GuestError;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Path, Query};
use super::sandboxes::sandbox_id;
use super::{refusal, sse};
use crate::app::{UseKind, guest_problem};
use crate::error::ApiError;

/// Shows the app that runs in a sandbox.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/app", tag = "sandboxes", operation_id = "get_app", params(("id" = String, Path)),
    responses((status = 200, body = AppView), refusal::Guest)
)]
pub(super) async fn app(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<AppView>, ApiError> {
    let id = sandbox_id(&id)?;
    let status = state.sandboxes.guest(&id).await?.app_status().await?;
    let url = status
        .port
        .map(|port| state.sandboxes.previews().url(&id, port));
    Ok(Json(app_view(status, url)))
}

/// Starts the app again.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/app/restart", tag = "sandboxes", operation_id = "restart_app", params(("id" = String, Path)),
    responses((status = 204), refusal::Guest)
)]
pub(super) async fn restart_app(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id = sandbox_id(&id)?;
    let awake = state.sandboxes.awake(&id, UseKind::Action).await?;
    awake.guest().app_restart().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts, stops or restarts one process of the app, and shows how it is then.
///
/// A process that was stopped stays so until it, or the whole app, is started again.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/app/processes/{name}/{action}", tag = "sandboxes", operation_id = "control_process",
    params(
        ("id" = String, Path),
        ("name" = String, Path, description = "`web` or the name of a worker."),
        ("action" = String, Path, description = "`start`, `stop` or `restart`.")
    ),
    responses((status = 200, body = AppProcessView), refusal::Process)
)]
pub(super) async fn control(
    State(state): State<super::State>,
    Path((id, name, action)): Path<(String, String, String)>,
) -> Result<Json<AppProcessView>, ApiError> {
    let id = sandbox_id(&id)?;
    let action = match action.as_str() {
        "start" => AppAction::Start,
        "stop" => AppAction::Stop,
        "restart" => AppAction::Restart,
        _ => return Err(Problem::field("action", action, "give start, stop or restart").into()),
    };
    let awake = state.sandboxes.awake(&id, UseKind::Action).await?;
    let done = awake.guest().app_process(&name, action).await;
    let process = done.map_err(|error| refused(&name, error))?;
    Ok(Json(process_view(process)))
}

fn refused(name: &str, error: GuestError) -> Problem {
    match error {
        GuestError::Refused(refusal) if refusal.code == GuestCode::NotFound => {
            Problem::field("name", name, refusal.message)
        }
        GuestError::Refused(refusal) if refusal.code == GuestCode::Unavailable => {
            Problem::new(Code::StateConflict, refusal.message).with_remedy("try again in a second")
        }
        error => guest_problem(error),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// Only the lines of this process: `web`, `install`, `build` or the name of a worker.
    process: Option<String>,
    /// Begin with the line of this number. The header `Last-Event-ID`, the number of the last line seen, wins.
    from: Option<u64>,
    /// Go on with new lines as they come.
    #[serde(default)]
    follow: bool,
}

/// Streams what the app's processes print: what is kept of it, then what comes.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/logs", tag = "sandboxes", operation_id = "follow_logs",
    params(("id" = String, Path), LogsQuery, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, content_type = "text/event-stream", body = LogLine),
        refusal::Guest
    )
)]
pub(super) async fn logs(
    State(state): State<super::State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(query): Query<LogsQuery>,
) -> Result<Response, ApiError> {
    let from = match sse::last_event_id(&headers)? {
        Some(last) => Some(last.saturating_add(1)),
        None => query.from,
    };
    let id = sandbox_id(&id)?;
    let awake = state.sandboxes.awake(&id, UseKind::Logs).await?;
    let request = AppLogsRequest {
        process: query.process,
        from,
        follow: query.follow,
    };
    let lines = awake.guest().app_logs(&request).await?;
    // The use goes with the stream.
    let lines = lines.map(move |line| match (&awake, line).1 {
        Ok(line) => sse::json(&LogLine {
            process: line.process,
            number: line.number,
            at: line.at_ms,
            text: line.text,
        })
        .id(line.number.to_string()),
        Err(error) => sse::json(&guest_problem(error)).event("error"),
    });
    Ok(sse::answer(lines, state.tasks.shutdown().clone()))
}

fn app_view(status: AppStatus, url: Option<String>) -> AppView {
    AppView {
        kind: word(&status.kind),
        framework: status.framework,
        state: word(&status.state),
        message: status.message,
        command: status.command,
        port: status.port,
        url,
        health: status.health.map(|health| AppHealthView {
            healthy: health.healthy,
            path: health.path,
            status: health.status,
            problem: health.problem,
            since: health.since_ms,
            checked_at: health.checked_ms,
        }),
        processes: status.processes.into_iter().map(process_view).collect(),
    }
}

fn process_view(process: AppProcess) -> AppProcessView {
    AppProcessView {
        name: process.name,
        state: word(&process.state),
        pid: process.pid,
        restarts: process.restarts,
        message: process.message,
    }
}

/// A unit variant as the word that it is on the wire.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
