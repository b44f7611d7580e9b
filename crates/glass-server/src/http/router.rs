//! All routes in one table, and the document that is made from it.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use glass_api::{BODY_LIMIT, Code, Problem};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    archive, auth, egress, exec, files, meta, preview_link, processes, sandbox_events, sandboxes,
    settings, snapshots, tasks, templates, terminal,
};
use crate::app::{Sandboxes, Tasks};
use crate::error::ApiError;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) sandboxes: Arc<Sandboxes>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) store: glass_store::Store,
    pub(crate) token: Arc<auth::ApiToken>,
    pub(crate) metrics: crate::metrics::Metrics,
    pub(crate) edge: glass_edge::EdgeCounters,
    pub(crate) ready: tokio::sync::watch::Receiver<bool>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Glasshouse",
        description = "Sandboxes in which coding agents build software, and the previews of what they build.\n\n\
                       Times are milliseconds since 1970 UTC, sizes are bytes. Errors are RFC 9457 problem details \
                       with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(
        glass_api::Problem,
        glass_api::EventView,
        glass_api::ExecChunk,
        glass_api::LogLine,
        glass_api::SandboxEventView,
        glass_api::TerminalMessage
    )),
    security(("token" = []))
)]
struct Document;

/// Routes that anybody may see.
fn open_routes() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(meta::healthz))
        .routes(routes!(meta::readyz))
        .routes(routes!(meta::openapi))
}

/// Routes that want a token.
fn guarded_routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(sandboxes::create, sandboxes::list))
        .routes(routes!(sandboxes::get, sandboxes::edit, sandboxes::destroy))
        .routes(routes!(sandboxes::start))
        .routes(routes!(sandboxes::stop))
        .routes(routes!(sandboxes::freeze))
        .routes(routes!(sandboxes::keepalive))
        .routes(routes!(sandboxes::stats))
        .routes(routes!(sandboxes::ports))
        .routes(routes!(processes::app))
        .routes(routes!(processes::restart_app))
        .routes(routes!(processes::control))
        .routes(routes!(processes::logs))
        .routes(routes!(sandbox_events::events))
        .routes(routes!(egress::get, egress::set))
        .routes(routes!(egress::refusals))
        .routes(routes!(preview_link::create))
        .routes(routes!(exec::exec))
        .routes(routes!(terminal::terminal))
        .routes(routes!(files::list, files::remove))
        .routes(routes!(files::stat))
        .routes(routes!(files::read, files::write))
        .routes(routes!(files::make_directory))
        .routes(routes!(files::move_file))
        .routes(routes!(archive::export, archive::import))
        .routes(routes!(tasks::create, tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::events))
        .routes(routes!(tasks::cancel))
        .routes(routes!(snapshots::take))
        .routes(routes!(snapshots::restore))
        .routes(routes!(snapshots::fork))
        .routes(routes!(snapshots::list))
        .routes(routes!(snapshots::get, snapshots::delete))
        .routes(routes!(templates::list))
        .routes(routes!(templates::put, templates::get, templates::delete))
        .routes(routes!(settings::get, settings::change))
        .routes(routes!(meta::images))
        .routes(routes!(meta::agents))
        .routes(routes!(meta::version))
        .routes(routes!(meta::metrics))
}

/// The document alone.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    let mut document = open_routes().merge(guarded_routes()).into_openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of this server."))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(bearer));
    document
}

/// The API as a service. Everything under `/v1` but the document wants a token.
pub(crate) fn router(state: State) -> Router {
    let (open, _) = open_routes().split_for_parts();
    let (guarded, _) = guarded_routes().split_for_parts();
    let token = middleware::from_fn_with_state(state.clone(), auth::require_token);
    guarded
        .route_layer(token)
        .merge(open)
        .route("/", get(meta::welcome))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(state)
}

async fn not_found(uri: http::Uri) -> ApiError {
    let problem = Problem::new(
        Code::RouteNotFound,
        format!("there is nothing at {}", uri.path()),
    );
    problem
        .with_remedy("see /v1/openapi.json for what there is")
        .into()
}

async fn method_not_allowed(method: http::Method, uri: http::Uri) -> ApiError {
    let problem = Problem::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}", uri.path()),
    );
    problem
        .with_remedy("see /v1/openapi.json for what it takes")
        .into()
}
