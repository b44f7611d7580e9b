//! The REST API: routes, authentication, and handlers that only translate.

mod archive;
mod auth;
mod egress;
mod exec;
mod extract;
mod files;
mod meta;
mod preview_link;
mod processes;
mod refusal;
mod router;
mod sandbox_events;
mod sandboxes;
mod settings;
mod snapshots;
mod sse;
mod tasks;
mod templates;
mod terminal;

pub(crate) use auth::ApiToken;
pub(crate) use router::{State, router};

/// The OpenAPI 3.1 document of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    router::document()
}
