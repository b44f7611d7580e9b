//! Health, version, and what there is to choose from.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse};
use glass_api::{AgentList, ImageList, ImageView};
use http::header;
use prometheus_client::collector::Collector;
use serde_json::{Value, json};

use super::refusal;
use crate::error::{ApiError, internal};
use crate::metrics::{EdgeCollector, EgressMetrics};

/// Answers as long as the process lives.
#[utoipa::path(get, path = "/healthz", tag = "server", security(()), responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Says whether the server can be used: the database answers and the world was matched to it.
#[utoipa::path(
    get, path = "/readyz", tag = "server", security(()),
    responses((status = 200, body = String), (status = 503, body = String, description = "Not yet, and why."))
)]
pub(super) async fn readyz(State(state): State<super::State>) -> (StatusCode, &'static str) {
    if !*state.ready.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    match state.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer\n",
        ),
    }
}

/// What a browser sees that comes to the server itself.
pub(super) async fn welcome() -> Html<&'static str> {
    Html(include_str!("welcome.html"))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "server", operation_id = "get_openapi", security(()), responses((status = 200, body = Value)))]
pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}

/// Version of the server.
#[utoipa::path(get, path = "/v1/version", tag = "server", operation_id = "get_version", responses((status = 200, body = Value), refusal::Plain))]
pub(super) async fn version(State(state): State<super::State>) -> Json<Value> {
    Json(
        json!({ "version": env!("CARGO_PKG_VERSION"), "runtime": state.sandboxes.runtime().name() }),
    )
}

/// Counts and times for Prometheus, in the text format of `OpenMetrics`.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "get_metrics", responses((status = 200, body = String, content_type = "application/openmetrics-text"), refusal::Plain))]
pub(super) async fn metrics(State(state): State<super::State>) -> impl IntoResponse {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let others: Vec<Box<dyn Collector>> = vec![
        Box::new(EdgeCollector(state.edge)),
        Box::new(EgressMetrics(state.sandboxes.egress_counts())),
    ];
    let text = state.metrics.text(&state.sandboxes.census(), others);
    ([(header::CONTENT_TYPE, TEXT)], text)
}

/// Images that sandboxes can be made from.
#[utoipa::path(get, path = "/v1/images", tag = "server", operation_id = "list_images", responses((status = 200, body = ImageList), refusal::Plain))]
pub(super) async fn images(State(state): State<super::State>) -> Result<Json<ImageList>, ApiError> {
    let store = state.sandboxes.images().clone();
    let images = tokio::task::spawn_blocking(move || store.list())
        .await
        .map_err(|error| internal(&error))??;
    let images = images.into_iter().map(|image| ImageView {
        name: image.name,
        digest: image.digest.to_string(),
        size_bytes: image.size_bytes,
        created: image.created,
    });
    Ok(Json(ImageList {
        images: images.collect(),
    }))
}

/// Agents, and the model that each uses here.
#[utoipa::path(get, path = "/v1/agents", tag = "server", operation_id = "list_agents", responses((status = 200, body = AgentList), refusal::Plain))]
pub(super) async fn agents(State(state): State<super::State>) -> Json<AgentList> {
    Json(AgentList {
        agents: state.tasks.agents(),
    })
}
