//! `/v1/sandboxes/{id}/files`
//!
//! Paths are the sandbox's own: absolute ones start at its root, relative ones at its workspace. The guest opens them
//! inside the sandbox, so no path, link or `..` leads anywhere else.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, TryStreamExt};
use glass_api::{FileKind, FileList, FileView, MoveParams, Problem};
use glass_guest_protocol::filesystem::{Entry, FileType};
use http::header;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Json as JsonBody, Path, Query};
use super::refusal;
use super::sandboxes::sandbox_id;
use crate::app::{Awake, UseKind};
use crate::error::ApiError;

/// How much of a refused upload is read so that its sender hears why.
const DRAIN_LIMIT: usize = 256 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PathQuery {
    /// A path in the sandbox.
    path: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// A directory in the sandbox; the workspace unless given.
    #[serde(default = "workspace")]
    path: String,
    /// How many levels deep; 1 lists the directory itself.
    #[serde(default = "one")]
    depth: u32,
}

pub(super) fn workspace() -> String {
    ".".to_owned()
}

fn one() -> u32 {
    1
}

/// Refuses what can be no path, and what climbs: a caller who means another place names it.
pub(super) fn checked(field: &str, path: &str) -> Result<(), Problem> {
    if path.is_empty() {
        return Err(Problem::field(field, path, "give a path"));
    }
    if path.len() > 4096 {
        return Err(Problem::field(field, path, "at most 4096 bytes"));
    }
    if path.contains('\0') {
        return Err(Problem::field(field, path, "a path has no NUL byte"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(Problem::field(
            field,
            path,
            "`..` is not allowed; give the path itself",
        ));
    }
    Ok(())
}

pub(super) async fn files_of(state: &super::State, id: &str) -> Result<Awake, ApiError> {
    state
        .sandboxes
        .awake(&sandbox_id(id)?, UseKind::Files)
        .await
}

/// Lists a directory.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files", tag = "files", operation_id = "list_files", params(("id" = String, Path), ListQuery),
    responses((status = 200, body = FileList), refusal::ReadFile)
)]
pub(super) async fn list(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<FileList>, ApiError> {
    checked("path", &query.path)?;
    if !(1..=64).contains(&query.depth) {
        return Err(Problem::field("depth", query.depth, "give 1 to 64").into());
    }
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    let entries = guest.list_dir(&query.path, query.depth).await?;
    let mut entries: Vec<FileView> = entries.into_iter().map(view).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Json(FileList { entries }))
}

/// Shows a directory entry; a link itself, not what it points to.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files/stat", tag = "files", operation_id = "stat_file", params(("id" = String, Path), PathQuery),
    responses((status = 200, body = FileView), refusal::ReadFile)
)]
pub(super) async fn stat(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<PathQuery>,
) -> Result<Json<FileView>, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    Ok(Json(view(guest.stat(&query.path).await?)))
}

/// Reads a file.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/files/content", tag = "files", operation_id = "read_file", params(("id" = String, Path), PathQuery),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        refusal::ReadFile
    )
)]
pub(super) async fn read(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<PathQuery>,
) -> Result<Response, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    let (size, bytes) = guest.read_file(&query.path).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((
        headers,
        Body::from_stream(bytes.map_err(move |error| {
            // Held until the last byte has gone.
            let _ = &awake;
            std::io::Error::other(error)
        })),
    )
        .into_response())
}

/// Writes a file, whole or not at all. Directories on the way are made.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/files/content", tag = "files", operation_id = "write_file", params(("id" = String, Path), PathQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = FileView), refusal::WriteFile)
)]
pub(super) async fn write(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<PathQuery>,
    body: Body,
) -> Result<Json<FileView>, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    // The body limit of JSON does not hold here: the stream goes through, and the sandbox's disk is the limit.
    let (parts, receiver) = tokio::sync::mpsc::channel(4);
    let write = guest.write_file(
        &query.path,
        tokio_stream::wrappers::ReceiverStream::new(receiver),
    );
    let (written, ()) = tokio::join!(write, pump(body, parts));
    written?;
    Ok(Json(view(guest.stat(&query.path).await?)))
}

/// Makes a directory and those on the way to it.
#[utoipa::path(
    put, path = "/v1/sandboxes/{id}/files/directory", tag = "files", operation_id = "make_directory", params(("id" = String, Path), PathQuery),
    responses((status = 200, body = FileView), refusal::WriteFile)
)]
pub(super) async fn make_directory(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<PathQuery>,
) -> Result<Json<FileView>, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    Ok(Json(view(guest.make_dir(&query.path).await?)))
}

/// Moves a file or directory.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/files/move", tag = "files", operation_id = "move_file", params(("id" = String, Path)), request_body = MoveParams,
    responses((status = 200, body = FileView), refusal::MoveFile)
)]
pub(super) async fn move_file(
    State(state): State<super::State>,
    Path(id): Path<String>,
    JsonBody(params): JsonBody<MoveParams>,
) -> Result<Json<FileView>, ApiError> {
    checked("from", &params.from)?;
    checked("to", &params.to)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    Ok(Json(view(guest.move_(&params.from, &params.to).await?)))
}

/// Removes a file, or a directory with all that is in it.
#[utoipa::path(
    delete, path = "/v1/sandboxes/{id}/files", tag = "files", operation_id = "remove_file", params(("id" = String, Path), PathQuery),
    responses((status = 204), refusal::WriteFile)
)]
pub(super) async fn remove(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Query(query): Query<PathQuery>,
) -> Result<StatusCode, ApiError> {
    checked("path", &query.path)?;
    let awake = files_of(&state, &id).await?;
    let guest = awake.guest();
    guest.remove(&query.path).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hands a body on, and reads the rest of one that nobody wants any more.
///
/// A client that is still sending when the connection closes sees a broken pipe instead of the answer that says why.
pub(super) async fn pump(
    body: Body,
    parts: tokio::sync::mpsc::Sender<Result<bytes::Bytes, axum::Error>>,
) {
    let mut body = body.into_data_stream();
    let mut unwanted = 0;
    while let Some(part) = body.next().await {
        let length = part.as_ref().map_or(0, bytes::Bytes::len);
        if parts.send(part).await.is_err() {
            unwanted += length;
            if unwanted > DRAIN_LIMIT {
                return;
            }
        }
    }
}

fn view(entry: Entry) -> FileView {
    FileView {
        name: entry.name,
        path: entry.path,
        kind: match entry.kind {
            FileType::File => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::Unspecified => FileKind::Other,
        },
        size: entry.size,
        mode: entry.mode,
        modified: entry.modified_time,
        target: entry.symlink_target,
    }
}
