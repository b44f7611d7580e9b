//! Health, version, and what there is to choose from.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use glass_api::{AgentList, ImageList, ImageView, Problem};
use serde_json::{Value, json};

use crate::error::{ApiError, internal};

/// The process lives.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The server can be used: the database answers and the world was matched to it.
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

/// Version of the server.
#[utoipa::path(get, path = "/v1/version", tag = "server", responses((status = 200, body = Value), (status = "4XX", body = Problem)))]
pub(super) async fn version(State(state): State<super::State>) -> Json<Value> {
    Json(
        json!({ "version": env!("CARGO_PKG_VERSION"), "runtime": state.sandboxes.runtime().name() }),
    )
}

/// Images that sandboxes can be made from.
#[utoipa::path(get, path = "/v1/images", tag = "server", responses((status = 200, body = ImageList), (status = "4XX", body = Problem)))]
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
#[utoipa::path(get, path = "/v1/agents", tag = "server", responses((status = 200, body = AgentList), (status = "4XX", body = Problem)))]
pub(super) async fn agents(State(state): State<super::State>) -> Json<AgentList> {
    Json(AgentList {
        agents: state.tasks.agents(),
    })
}
