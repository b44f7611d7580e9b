//! `/v1/sandboxes/{id}/archive`: a directory as one archive, out and in.
//!
//! The guest packs and unpacks, inside the sandbox; here the bytes only pass.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use glass_api::ImportView;
use http::header;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Path, Query};
use super::files::{checked, files_of, pump, workspace};
use super::refusal;
use crate::error::ApiError;

/// How files are packed.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub(super) enum Format {
    /// A compressed tar archive: keeps links, modes and names of any bytes.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A zip archive: names are text.
    #[serde(rename = "zip")]
    Zip,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveQuery {
    /// `tar.gz` or `zip`.
    #[param(inline)]
    format: Format,
    /// A directory in the sandbox; the workspace unless given.
    #[serde(default = "workspace")]
    path: String,
}

/// Packs a directory. An answer that breaks off is not whole.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/archive", tag = "files", operation_id = "export_files", params(("id" = String, Path), ArchiveQuery),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        refusal::ReadFile
    )
)]
pub(super) async fn export(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<ArchiveQuery>,
) -> Result<Response, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let bytes = awake
        .guest()
        .read_archive(&query.path, query.format.as_str())
        .await?;
    let name = format!("attachment; filename=\"{id}.{}\"", query.format.as_str());
    let headers = [
        (header::CONTENT_TYPE, query.format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let bytes = bytes.map_err(move |error| {
        // Held until the last byte has gone.
        let _ = &awake;
        std::io::Error::other(error)
    });
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// Unpacks an archive into a directory: all of it, or nothing. Files that are there already are replaced, others stay.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/archive", tag = "files", operation_id = "import_files", params(("id" = String, Path), ArchiveQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = ImportView), refusal::WriteFile)
)]
pub(super) async fn import(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<ArchiveQuery>,
    body: Body,
) -> Result<Json<ImportView>, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    let (parts, receiver) = tokio::sync::mpsc::channel(4);
    let write = guest.write_archive(
        &query.path,
        query.format.as_str(),
        tokio_stream::wrappers::ReceiverStream::new(receiver),
    );
    let (imported, ()) = tokio::join!(write, pump(body, parts));
    let imported = imported?;
    Ok(Json(ImportView {
        entries: imported.entries,
        bytes: imported.bytes,
    }))
}
