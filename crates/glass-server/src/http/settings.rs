//! `/v1/settings`

use axum::Json;
use axum::extract::State;
use glass_api::{SettingsParams, SettingsView};

use super::extract::Json as Body;
use super::refusal;
use crate::error::ApiError;

/// Shows the settings that can be changed while the server runs.
#[utoipa::path(
    get, path = "/v1/settings", tag = "server", operation_id = "get_settings",
    responses((status = 200, body = SettingsView), refusal::Plain)
)]
pub(super) async fn get(State(state): State<super::State>) -> Json<SettingsView> {
    Json(state.sandboxes.settings().view())
}

/// Changes settings. They take effect at once.
#[utoipa::path(
    patch, path = "/v1/settings", tag = "server", operation_id = "change_settings", request_body = SettingsParams,
    responses((status = 200, body = SettingsView), refusal::Settings)
)]
pub(super) async fn change(
    State(state): State<super::State>,
    Body(params): Body<SettingsParams>,
) -> Result<Json<SettingsView>, ApiError> {
    state.sandboxes.change_settings(params).await?;
    Ok(Json(state.sandboxes.settings().view()))
}
