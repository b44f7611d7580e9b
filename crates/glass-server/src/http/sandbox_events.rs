//! `/v1/sandboxes/{id}/events`

use std::collections::VecDeque;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use glass_api::{SandboxEventList, SandboxEventView};
use glass_store::{SandboxEventRow, Store, StoreError};
use glass_types::SandboxId;
use tokio::sync::watch;

use super::extract::{Path, Query};
use super::sandboxes::sandbox_id;
use super::{refusal, sse};
use crate::error::ApiError;

/// Events read from the database at once, and listed at most.
const PAGE: u64 = 200;

/// Lists what happened to a sandbox, the oldest first and 200 at most; or, to who accepts `text/event-stream`, streams it
/// and goes on with what happens.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/events", tag = "sandboxes", operation_id = "sandbox_events",
    params(("id" = String, Path), sse::EventsQuery, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, content(
            (SandboxEventList = "application/json"),
            (SandboxEventView = "text/event-stream")
        )),
        refusal::Events
    )
)]
pub(super) async fn events(
    State(state): State<super::State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(query): Query<sse::EventsQuery>,
) -> Result<Response, ApiError> {
    let id = sandbox_id(&id)?;
    state.sandboxes.get(&id).await?;
    let after = query.seen(&headers)?;
    if sse::is_wanted(&headers) {
        let shutdown = state.tasks.shutdown().clone();
        return Ok(sse::answer(follow(state.store, id, after), shutdown));
    }
    let rows = state.store.sandbox_events(&id, after, PAGE).await?;
    let events = rows.into_iter().map(view).collect();
    Ok(Json(SandboxEventList { events }).into_response())
}

/// Where a reader is.
struct Reader {
    store: Store,
    id: SandboxId,
    after: u64,
    page: VecDeque<SandboxEventRow>,
    changed: watch::Receiver<u64>,
}

/// All events after a number, then those to come. Ends with the sandbox.
fn follow(
    store: Store,
    id: SandboxId,
    after: u64,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let reader = Reader {
        changed: store.watch_sandbox_events(),
        store,
        id,
        after,
        page: VecDeque::new(),
    };
    stream::unfold(reader, |mut reader| async move {
        // A database that fails ends the stream; the reader comes back with the last number.
        let row = reader.next().await.ok()??;
        let (number, kind) = (row.number.to_string(), row.kind.clone());
        Some((sse::json(&view(row)).id(number).event(kind), reader))
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<SandboxEventRow>, StoreError> {
        loop {
            if let Some(row) = self.page.pop_front() {
                self.after = row.number;
                return Ok(Some(row));
            }
            // Marked as seen *before* the read: what is stored while we read wakes us again.
            self.changed.borrow_and_update();
            let rows = self
                .store
                .sandbox_events(&self.id, self.after, PAGE)
                .await?;
            self.page = rows.into();
            if self.page.is_empty() {
                if self.store.sandbox(&self.id).await?.is_none() {
                    return Ok(None);
                }
                // The sender lives as long as the store.
                let _ = self.changed.changed().await;
            }
        }
    }
}

fn view(row: SandboxEventRow) -> SandboxEventView {
    SandboxEventView {
        number: row.number,
        at: row.at,
        kind: row.kind,
        data: row.data,
    }
}
