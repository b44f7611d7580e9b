//! One task from its prompt to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use glass_agent::{AgentContext, EventSink, TurnJob, TurnOutcome};
use glass_guest_protocol::app::{AppState, AppStatus};
use glass_guest_protocol::{HOME, WORKSPACE};
use glass_runtime::GuestClient;
use glass_store::{AgentRunRow, Millis, StoreError, TaskRow};
use glass_types::{EndReason, Event, TaskId};
use tokio_util::sync::CancellationToken;

use super::refusals::{self, Heard};
use super::tasks::Tasks;
use super::{Attached, Down, Use};
use crate::clock;
use crate::error::ApiError;
use crate::link::GuestLink;

/// How often a turn is driven when its sandbox does not answer.
const ATTEMPTS: u32 = 3;
/// How long the end of a task waits for an app that is still being installed or started.
const APP_PATIENCE: Duration = Duration::from_secs(120);

/// How long a turn waits that has to begin again.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How a task ended.
pub(super) struct Ending {
    pub(super) reason: EndReason,
    pub(super) result: Option<String>,
    pub(super) error: Option<String>,
    /// When its sandbox was stopped, if that is why it ended.
    pub(super) stopped_at: Option<Millis>,
}

/// Works on a task until its agent has ended its turn.
pub(super) async fn run(
    tasks: &Arc<Tasks>,
    task: &TaskRow,
    held: &Use,
    cancel: &CancellationToken,
) -> Ending {
    let ending = |reason, result, error| Ending {
        reason,
        result,
        error,
        stopped_at: None,
    };
    if cancel.is_cancelled() && task.process_key.is_none() {
        return ending(EndReason::Cancelled, None, None);
    }
    let (mut attempt, mut waits) = (1, false);
    loop {
        match drive(tasks, task, held, cancel).await {
            Ok(outcome) => {
                let result = last_words(tasks, &task.id).await;
                return ending(outcome.reason, result, outcome.message);
            }
            Err(Failure::Final(message)) => return ending(EndReason::Failed, None, Some(message)),
            Err(Failure::Stopped(at)) => {
                return Ending {
                    reason: EndReason::Cancelled,
                    result: last_words(tasks, &task.id).await,
                    error: Some("the sandbox was stopped".to_owned()),
                    stopped_at: Some(at),
                };
            }
            Err(Failure::Later(pause, message)) => {
                let message = format!("waiting: {message}");
                if !std::mem::replace(&mut waits, true) {
                    tasks.note(&task.id, Event::Status { message }).await;
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = cancel.cancelled() => return ending(EndReason::Cancelled, None, None),
                }
            }
            // The turn goes on in the sandbox, or its log will say how it ended: look again.
            Err(Failure::Again(message)) if attempt < ATTEMPTS => {
                tracing::warn!(task.id = %task.id, error = message, attempt, "driving a turn again");
                attempt += 1;
            }
            Err(Failure::Again(message)) => return ending(EndReason::Failed, None, Some(message)),
        }
    }
}

/// Why a turn was not driven to its end, as a sentence for people.
enum Failure {
    /// Trying again would not help.
    Final(String),
    /// It may.
    Again(String),
    /// It does, after this time, however often: the host has no room now.
    Later(Duration, String),
    /// Somebody stopped the sandbox, not later than this.
    Stopped(Millis),
}

/// Drives the turn once.
async fn drive(
    tasks: &Arc<Tasks>,
    task: &TaskRow,
    held: &Use,
    cancel: &CancellationToken,
) -> Result<TurnOutcome, Failure> {
    let store = |error: StoreError| Failure::Again(error.to_string());
    let is_final = |ApiError(problem): ApiError| Failure::Final(problem.detail);
    let attached = tasks.sandboxes.rouse(held).await;
    let attached = attached.map_err(|ApiError(problem)| match problem.retry_after {
        Some(seconds) => Failure::Later(Duration::from_secs(seconds), problem.detail),
        None => Failure::Final(problem.detail),
    })?;
    let sandbox = tasks.sandboxes.get(&task.sandbox).await.map_err(is_final)?;
    let guest = held.guest().clone();
    let manifest = tasks
        .agents
        .get(&task.agent)
        .map_err(|unknown| Failure::Final(unknown.to_string()))?;
    let gateway_port = match guest.info().await {
        Ok(info) => info.gateway_port,
        Err(error) => return Err(went_down(tasks, &attached, error.to_string()).await),
    };
    let run = agent_run(tasks, task, &guest).await?;
    if task.process_key.is_none() {
        tasks
            .note(
                &task.id,
                Event::Status {
                    message: format!("starting {}", manifest.name),
                },
            )
            .await;
        tasks
            .store
            .start_task(&task.id, &run.process_key)
            .await
            .map_err(store)?;
    }
    let command = manifest.command(&AgentContext {
        gateway_url: format!("http://127.0.0.1:{gateway_port}"),
        token: sandbox.gateway_token.clone(),
        model: task.model.clone(),
        home: HOME.to_owned(),
        cwd: WORKSPACE.to_owned(),
    });
    let job = TurnJob {
        task: task.id.to_string(),
        agent: manifest.clone(),
        process_key: run.process_key.clone(),
        command,
        resume_session: run.acp_session.clone(),
        prompt: task.prompt.clone(),
        model: task.model.clone(),
        last_stored_line: tasks.store.last_line(&task.id).await.map_err(store)?,
    };
    let link = GuestLink::new(guest.clone());
    let sink = Sink {
        tasks,
        task: &task.id,
    };
    let app = Mutex::new(AppStatus::default());
    // Boxed: every worker's future would carry the turn's whole state otherwise.
    let turn = Box::pin(glass_agent::drive(
        &link,
        &sink,
        &job,
        cancel.clone().cancelled_owned(),
    ));
    let watching = watch_app(tasks, task, &guest, &app);
    let heard = Heard::default();
    let listening = refusals::follow(tasks, task, tasks.refusals.listen(), &heard);
    let mut outcome = tokio::select! {
        outcome = turn => outcome.map_err(|error| Failure::Again(error.to_string()))?,
        never = watching => match never {},
        never = listening => match never {},
        _ = attached.down() => {
            return Err(went_down(tasks, &attached, "its sandbox ended while the agent worked".to_owned()).await);
        }
    };
    let next = AgentRunRow {
        process_key: outcome.process_key.clone(),
        acp_session: outcome.acp_session.clone(),
        ..run.clone()
    };
    if outcome.reason == EndReason::Failed {
        outcome.message = heard.explain(outcome.message);
    }
    if next != run {
        tasks.store.put_agent_run(&next).await.map_err(store)?;
    }
    if outcome.reason == EndReason::Completed {
        tokio::select! {
            () = settle(tasks, task, &guest, &app) => {}
            // The turn is over; nobody has to wait for the app who does not want to.
            () = cancel.cancelled() => {}
        }
    }
    Ok(outcome)
}

/// What it means for a task that its sandbox does not answer any more.
async fn went_down(tasks: &Tasks, attached: &Attached, message: String) -> Failure {
    let at = clock::now();
    if tasks.shutdown().is_cancelled() {
        // The sandbox goes on without us, and so does the turn; the next server drives it. This one is about to be
        // dropped.
        std::future::pending::<()>().await;
    }
    match attached.why() {
        Some(Down::Stopped) => Failure::Stopped(at),
        Some(Down::Removed) => Failure::Final("the sandbox was removed".to_owned()),
        Some(Down::GaveWay) => {
            Failure::Later(A_MOMENT, "its sandbox gave way: memory is short".to_owned())
        }
        Some(Down::Died | Down::Replaced | Down::Left) | None => Failure::Again(message),
    }
}

/// The agent process for a task: the one that works on it already, else the last one of this sandbox if it has the
/// right model, else a new one that goes on with the conversation.
async fn agent_run(
    tasks: &Tasks,
    task: &TaskRow,
    guest: &GuestClient,
) -> Result<AgentRunRow, Failure> {
    let store = |error: StoreError| Failure::Again(error.to_string());
    let known = tasks
        .store
        .agent_run(&task.sandbox, &task.agent)
        .await
        .map_err(store)?;
    let next = match (known, &task.process_key) {
        (Some(run), Some(key)) => AgentRunRow {
            process_key: key.clone(),
            ..run
        },
        (Some(run), None) if run.model == task.model => run,
        (Some(run), None) => {
            // The model is part of how it was started. One process of an agent at a time: the old one would go on
            // holding its memory. That it is gone already is as good.
            drop(guest.agent_stop(&run.process_key).await);
            AgentRunRow {
                process_key: format!("{}-{}", task.agent, task.id),
                model: task.model.clone(),
                ..run
            }
        }
        (None, key) => AgentRunRow {
            sandbox: task.sandbox.clone(),
            agent: task.agent.clone(),
            process_key: key.clone().unwrap_or_else(|| task.agent.clone()),
            model: task.model.clone(),
            acp_session: None,
        },
    };
    tasks.store.put_agent_run(&next).await.map_err(store)?;
    Ok(next)
}

/// Where the turn's events go: to disk, then to whoever watches.
struct Sink<'a> {
    tasks: &'a Tasks,
    task: &'a TaskId,
}

#[async_trait]
impl EventSink for Sink<'_> {
    async fn append(&self, line: u64, events: Vec<Event>) -> anyhow::Result<()> {
        // The end is written together with the task's last state, after the app has settled.
        let events: Vec<Event> = events
            .into_iter()
            .filter(|event| !matches!(event, Event::End { .. }))
            .collect();
        self.tasks
            .store
            .append_events(self.task, Some(line), &events, clock::now())
            .await?;
        self.tasks.open.changed(self.task);
        Ok(())
    }
}

/// Notes in the task's log when the app begins to answer. Never ends by itself.
async fn watch_app(
    tasks: &Tasks,
    task: &TaskRow,
    guest: &GuestClient,
    seen: &Mutex<AppStatus>,
) -> std::convert::Infallible {
    loop {
        if let Ok(mut statuses) = guest.watch_app().await {
            while let Some(Ok(status)) = statuses.next().await {
                note_app(tasks, task, seen, status).await;
            }
        }
        // The guest hung up: the sandbox is on its way down, or was frozen. The turn notices first.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn note_app(tasks: &Tasks, task: &TaskRow, seen: &Mutex<AppStatus>, status: AppStatus) {
    let before = std::mem::replace(
        &mut *seen.lock().unwrap_or_else(PoisonError::into_inner),
        status.clone(),
    );
    let port = status.port.unwrap_or_default();
    let running = |status: &AppStatus| status.state == AppState::Running;
    if running(&status) && !(running(&before) && before.port == status.port) {
        let url = Some(tasks.sandboxes.previews().url(&task.sandbox, port));
        tasks.note(&task.id, Event::Preview { port, url }).await;
    } else if before.state != status.state {
        let message = match status.state {
            AppState::Installing => "installing the app's packages".to_owned(),
            AppState::Building => "building the app".to_owned(),
            AppState::Starting => "starting the app".to_owned(),
            AppState::Failed => format!(
                "the app failed: {}",
                status.message.as_deref().unwrap_or("no reason given")
            ),
            AppState::Idle | AppState::Running | AppState::Stopped => return,
        };
        tasks.note(&task.id, Event::Status { message }).await;
    }
}

/// Waits until the app answers or has failed, so that a task that made one ends with a page to look at.
async fn settle(tasks: &Tasks, task: &TaskRow, guest: &GuestClient, seen: &Mutex<AppStatus>) {
    let settled = async {
        let Ok(mut statuses) = guest.watch_app().await else {
            return;
        };
        while let Some(Ok(status)) = statuses.next().await {
            let state = status.state;
            note_app(tasks, task, seen, status).await;
            match state {
                AppState::Installing | AppState::Building | AppState::Starting => {}
                AppState::Idle | AppState::Running | AppState::Failed | AppState::Stopped => return,
            }
        }
    };
    if tokio::time::timeout(APP_PATIENCE, settled).await.is_err() {
        tasks
            .note(
                &task.id,
                Event::Status {
                    message: "the app is still starting".to_owned(),
                },
            )
            .await;
    }
}

/// What the agent said after its last tool call.
async fn last_words(tasks: &Tasks, task: &TaskId) -> Option<String> {
    let (mut words, mut after) = (String::new(), 0);
    loop {
        let rows = tasks.store.events(task, after, 1000).await.ok()?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            match row.event {
                Event::Text { delta } => words.push_str(&delta),
                Event::Tool { .. } => words.clear(),
                Event::Status { .. }
                | Event::Thought { .. }
                | Event::Plan { .. }
                | Event::Usage { .. }
                | Event::Preview { .. }
                | Event::End { .. } => {}
            }
        }
    }
    let words = words.trim();
    (!words.is_empty()).then(|| words.to_owned())
}
