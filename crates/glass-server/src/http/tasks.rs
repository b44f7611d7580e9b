//! `/v1/tasks` and `/v1/sandboxes/{id}/tasks`

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::stream::{self, Stream};
use glass_api::{Code, EventView, Problem, TaskList, TaskParams, TaskView};
use glass_store::EventRow;
use glass_types::{Event, TaskId};
use http::HeaderMap;
use tokio::sync::watch;

use super::extract::{Json as Body, Path, Query};
use super::sandboxes::sandbox_id;
use super::{refusal, sse};
use crate::app::{Hold, Tasks};
use crate::error::ApiError;

/// How many events are read from the database at once.
const PAGE: u64 = 256;

/// Gives an agent something to do. The answer comes as soon as the task is on disk.
#[utoipa::path(
    post, path = "/v1/sandboxes/{id}/tasks", tag = "tasks", operation_id = "create_task", params(("id" = String, Path)), request_body = TaskParams,
    responses((status = 202, body = TaskView), refusal::Submit)
)]
pub(super) async fn create(
    State(state): State<super::State>,
    Path(id): Path<String>,
    Body(params): Body<TaskParams>,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let task = state.tasks.submit(&sandbox_id(&id)?, params).await?;
    Ok((StatusCode::ACCEPTED, Json(state.tasks.view(task))))
}

/// Lists the tasks of a sandbox, the newest first.
#[utoipa::path(
    get, path = "/v1/sandboxes/{id}/tasks", tag = "tasks", operation_id = "list_tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskList), refusal::Row)
)]
pub(super) async fn list(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<TaskList>, ApiError> {
    let tasks = state.tasks.list(&sandbox_id(&id)?).await?;
    Ok(Json(TaskList {
        tasks: tasks
            .into_iter()
            .map(|task| state.tasks.view(task))
            .collect(),
    }))
}

/// Shows a task.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks", operation_id = "get_task", params(("id" = String, Path)),
    responses((status = 200, body = TaskView), refusal::Task)
)]
pub(super) async fn get(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<Json<TaskView>, ApiError> {
    let task = state.tasks.get(&task_id(&id)?).await?;
    Ok(Json(state.tasks.view(task)))
}

/// Asks for the end of a task. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/v1/tasks/{id}/cancel", tag = "tasks", operation_id = "cancel_task", params(("id" = String, Path)),
    responses((status = 202, body = TaskView), refusal::Cancel)
)]
pub(super) async fn cancel(
    State(state): State<super::State>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskView>), ApiError> {
    let task = state.tasks.cancel(&task_id(&id)?).await?;
    Ok((StatusCode::ACCEPTED, Json(state.tasks.view(task))))
}

/// Streams what happens in a task, from its first event or from where the caller left off. Ends after `end`.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", tag = "tasks", operation_id = "follow_task",
    params(("id" = String, Path), sse::EventsQuery, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, content_type = "text/event-stream", body = EventView),
        refusal::Task
    )
)]
pub(super) async fn events(
    State(state): State<super::State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(query): Query<sse::EventsQuery>,
) -> Result<Response, ApiError> {
    let id = task_id(&id)?;
    state.tasks.get(&id).await?;
    let after = query.seen(&headers)?;
    let shutdown = state.tasks.shutdown().clone();
    Ok(sse::answer(follow(state.tasks, id, after), shutdown))
}

/// Where a watcher of a task is.
struct Watcher {
    tasks: Arc<Tasks>,
    id: TaskId,
    after: u64,
    page: VecDeque<EventRow>,
    changed: watch::Receiver<u64>,
    _hold: Hold,
    ended: bool,
}

/// All events after a number: those on disk, then those to come.
fn follow(
    tasks: Arc<Tasks>,
    id: TaskId,
    after: u64,
) -> impl Stream<Item = axum::response::sse::Event> + Send {
    let hold = tasks.hold(&id);
    let changed = hold.subscribe();
    let watcher = Watcher {
        tasks,
        id,
        after,
        page: VecDeque::new(),
        changed,
        _hold: hold,
        ended: false,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let row = watcher.next().await?;
        let event = sse::json(&EventView {
            id: row.id,
            at: row.at,
            event: row.event.clone(),
        });
        Some((
            event.id(row.id.to_string()).event(kind(&row.event)),
            watcher,
        ))
    })
}

impl Watcher {
    async fn next(&mut self) -> Option<EventRow> {
        while !self.ended && self.page.is_empty() {
            // Marked as seen *before* the read: what is stored while we read wakes us again.
            self.changed.borrow_and_update();
            let rows = self.tasks.events(&self.id, self.after, PAGE).await.ok()?;
            self.page = rows.into();
            if self.page.is_empty() {
                let over = self
                    .tasks
                    .get(&self.id)
                    .await
                    .map_or(true, |task| task.status.is_final());
                if over
                    && self
                        .tasks
                        .events(&self.id, self.after, 1)
                        .await
                        .map_or(true, |rows| rows.is_empty())
                {
                    self.ended = true;
                } else if !over {
                    self.changed.changed().await.ok()?;
                }
            }
        }
        let row = self.page.pop_front()?;
        self.after = row.id;
        self.ended |= matches!(row.event, Event::End { .. });
        Some(row)
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Status { .. } => "status",
        Event::Text { .. } => "text",
        Event::Thought { .. } => "thought",
        Event::Tool { .. } => "tool",
        Event::Plan { .. } => "plan",
        Event::Usage { .. } => "usage",
        Event::Preview { .. } => "preview",
        Event::End { .. } => "end",
    }
}

fn task_id(text: &str) -> Result<TaskId, ApiError> {
    text.parse().map_err(|_| {
        Problem::new(Code::TaskNotFound, format!("task {text:?} was not found")).into()
    })
}
