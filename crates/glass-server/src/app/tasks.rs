//! Tasks: prompts on disk before they are acknowledged, worked on one after another in each sandbox.
//!
//! A sandbox with open tasks has one worker. What a worker does is a function of rows and of the agent's log, so the
//! worker of a restarted server goes on where the last one was killed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use glass_agent::{AgentManifest, AgentRegistry};
use glass_api::{AgentView, Code, ModelView, Problem, TaskParams, TaskView};
use glass_gateway::{Protocol, ProviderView};
use glass_guest_protocol::WEB_PORT;
use glass_store::{EventRow, Store, TaskRow};
use glass_types::{EndReason, Event, SandboxId, SandboxState, TaskId, TaskState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Sandboxes, task_run, validate};
use crate::clock;
use crate::error::ApiError;

/// The model that needs no key.
const DEMO: &str = "demo";

/// All tasks of this server.
pub(crate) struct Tasks {
    pub(super) store: Store,
    pub(super) sandboxes: Arc<Sandboxes>,
    pub(super) agents: AgentRegistry,
    /// Protocols for which the gateway has a real credential.
    with_key: Vec<Protocol>,
    default_agent: String,
    workers: Mutex<HashSet<SandboxId>>,
    open: Mutex<HashMap<TaskId, Open>>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

/// What this process holds of a task that somebody works on or watches.
struct Open {
    /// Changes whenever an event was stored or the task ended.
    changed: watch::Sender<u64>,
    /// Cancelled when somebody wants the task to end.
    cancel: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(
        store: Store,
        sandboxes: Arc<Sandboxes>,
        agents: AgentRegistry,
        providers: &[ProviderView],
        default_agent: String,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            sandboxes,
            agents,
            with_key: providers
                .iter()
                .filter(|view| !view.demo)
                .map(|view| view.protocol)
                .collect(),
            default_agent,
            workers: Mutex::default(),
            open: Mutex::default(),
            tracker,
            shutdown,
        }
    }

    /// Writes a task down and sets its sandbox's worker to it.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        sandbox: &SandboxId,
        params: TaskParams,
    ) -> Result<TaskRow, ApiError> {
        validate::prompt(&params.prompt)?;
        let row = self.sandboxes.get(sandbox).await?;
        if row.state == SandboxState::Destroying {
            return Err(Problem::new(
                Code::StateConflict,
                format!("sandbox {sandbox} is being removed"),
            )
            .into());
        }
        let last = self.store.tasks_of(sandbox).await?.into_iter().next();
        let agent = params
            .agent
            .or_else(|| last.as_ref().map(|task| task.agent.clone()))
            .unwrap_or_else(|| self.default_agent.clone());
        let model = self.model(&agent, params.model)?;
        let task = TaskRow {
            id: TaskId::random(),
            sandbox: sandbox.clone(),
            status: TaskState::Queued,
            prompt: params.prompt,
            agent,
            model: model.id,
            process_key: None,
            cancel_requested: false,
            result: None,
            error: None,
            created_at: clock::now(),
            ended_at: None,
        };
        self.store.insert_task(&task).await?;
        self.wake(sandbox);
        Ok(task)
    }

    /// A task.
    pub(crate) async fn get(&self, id: &TaskId) -> Result<TaskRow, ApiError> {
        let task = self.store.task(id).await?;
        task.ok_or_else(|| {
            Problem::new(Code::TaskNotFound, format!("task {id} was not found")).into()
        })
    }

    /// The tasks of a sandbox, the newest first.
    pub(crate) async fn list(&self, sandbox: &SandboxId) -> Result<Vec<TaskRow>, ApiError> {
        self.sandboxes.get(sandbox).await?;
        Ok(self.store.tasks_of(sandbox).await?)
    }

    /// Asks for the end of a task. One that has ended stays as it is.
    pub(crate) async fn cancel(self: &Arc<Self>, id: &TaskId) -> Result<TaskRow, ApiError> {
        let task = self.get(id).await?;
        if self.store.request_cancel(id).await? {
            self.cancellation(id).cancel();
            self.wake(&task.sandbox);
        }
        self.get(id).await
    }

    /// At most `limit` events after the one with number `after`.
    pub(crate) async fn events(
        &self,
        id: &TaskId,
        after: u64,
        limit: u64,
    ) -> Result<Vec<EventRow>, ApiError> {
        Ok(self.store.events(id, after, limit).await?)
    }

    /// Sees every change of a task from now on. Subscribe before reading the events, so that none falls between.
    pub(crate) fn subscribe(&self, id: &TaskId) -> watch::Receiver<u64> {
        self.with_open(id, |open| open.changed.subscribe())
    }

    /// Forgets what is held for a task that has ended and that nobody watches.
    pub(crate) fn forget(&self, id: &TaskId) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open
            .get(id)
            .is_some_and(|entry| entry.changed.receiver_count() == 0)
        {
            open.remove(id);
        }
    }

    /// Goes on with all open tasks after a start of the server.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), ApiError> {
        for sandbox in self.store.sandboxes_with_open_tasks().await? {
            self.wake(&sandbox);
        }
        Ok(())
    }

    /// Agents and the model that each uses unless told otherwise.
    pub(crate) fn agents(&self) -> Vec<AgentView> {
        let views = self.agents.iter().map(|agent| AgentView {
            id: agent.id.clone(),
            name: agent.name.clone(),
            model: model_view(if self.has_key(agent) {
                &agent.default_model
            } else {
                DEMO
            }),
            default: agent.id == self.default_agent,
        });
        views.collect()
    }

    /// A task as the API shows it.
    pub(crate) fn view(&self, task: TaskRow) -> TaskView {
        TaskView {
            url: self.sandboxes.previews().url(&task.sandbox, WEB_PORT),
            id: task.id.to_string(),
            sandbox: task.sandbox.to_string(),
            status: task.status.to_string(),
            prompt: task.prompt,
            agent: task.agent,
            model: model_view(&task.model),
            result: task.result,
            error: task.error,
            created_at: task.created_at,
            ended_at: task.ended_at,
        }
    }

    /// The model of a new task: the one asked for, if it can be used here.
    fn model(&self, agent: &str, wanted: Option<String>) -> Result<ModelView, ApiError> {
        let manifest = self.agents.get(agent).map_err(|unknown| {
            let problem = Problem::new(Code::AgentNotFound, unknown.to_string());
            problem.with_remedy(format!("give one of: {}", unknown.known.join(", ")))
        })?;
        let has_key = self.has_key(manifest);
        match wanted {
            None if has_key => Ok(model_view(&manifest.default_model)),
            None => Ok(model_view(DEMO)),
            Some(model) if model == DEMO || has_key => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@[]".contains(&b);
                if model.is_empty() || model.len() > 128 || !model.bytes().all(plain) {
                    return Err(Problem::field(
                        "model",
                        model,
                        "1 to 128 letters, digits and -_./:@[]",
                    )
                    .into());
                }
                Ok(model_view(&model))
            }
            Some(model) => {
                let provider = manifest.protocol.provider();
                let detail =
                    format!("model {model:?} needs a key for {provider}, and this server has none");
                let variable = format!("{}_API_KEY", provider.to_ascii_uppercase());
                let remedy = format!(
                    "set {variable} for the server, or use the model \"{DEMO}\", which needs none"
                );
                Err(Problem::new(Code::ModelUnavailable, detail)
                    .with_remedy(remedy)
                    .into())
            }
        }
    }

    fn has_key(&self, agent: &AgentManifest) -> bool {
        let protocol = match agent.protocol {
            glass_agent::Protocol::Anthropic => Protocol::Anthropic,
            glass_agent::Protocol::Openai => Protocol::OpenAi,
        };
        self.with_key.contains(&protocol)
    }

    /// Makes sure that a sandbox's open tasks have a worker.
    fn wake(self: &Arc<Self>, sandbox: &SandboxId) {
        if !self
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sandbox.clone())
        {
            return;
        }
        let (this, sandbox) = (Arc::clone(self), sandbox.clone());
        self.tracker.spawn(async move {
            let work = this.work(&sandbox);
            // A worker that is dropped in the middle loses nothing: the rows say where to go on.
            tokio::select! {
                () = work => {}
                () = this.shutdown.cancelled() => {}
            }
        });
    }

    async fn work(self: &Arc<Self>, sandbox: &SandboxId) {
        loop {
            match self.store.open_tasks_of(sandbox).await {
                Ok(tasks) => match tasks.into_iter().next() {
                    Some(task) => self.run(task).await,
                    None => {
                        self.workers
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .remove(sandbox);
                        // A task may have come between the look and the leaving; its submitter saw a worker and left
                        // it to us.
                        if self
                            .store
                            .open_tasks_of(sandbox)
                            .await
                            .is_ok_and(|tasks| !tasks.is_empty())
                        {
                            self.wake(sandbox);
                        }
                        return;
                    }
                },
                Err(error) => {
                    tracing::error!(sandbox.id = %sandbox, %error, "cannot read the tasks of a sandbox");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Works on one task until it has ended.
    async fn run(self: &Arc<Self>, task: TaskRow) {
        let id = task.id.clone();
        let cancel = self.cancellation(&id);
        if task.cancel_requested {
            cancel.cancel();
        }
        let ending = task_run::run(self, &task, &cancel).await;
        let end = Event::End {
            reason: ending.reason,
            message: ending.error.clone(),
        };
        let (result, error) = (ending.result.as_deref(), ending.error.as_deref());
        let finish =
            self.store
                .finish_task(&id, ending.status, result, error, Some(&end), clock::now());
        if let Err(error) = finish.await {
            // The row stays open, so the next start of the server ends it.
            tracing::error!(task.id = %id, %error, "cannot write the end of a task");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        self.changed(&id);
        self.forget(&id);
    }

    /// Stores an event of the server's own.
    pub(super) async fn note(&self, task: &TaskId, event: Event) {
        if let Err(error) = self
            .store
            .append_events(task, None, &[event], clock::now())
            .await
        {
            tracing::error!(task.id = %task, %error, "cannot store an event");
        }
        self.changed(task);
    }

    /// Tells those who watch a task that there is something new.
    pub(super) fn changed(&self, task: &TaskId) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = open.get(task) {
            entry.changed.send_modify(|version| *version += 1);
        }
    }

    fn cancellation(&self, task: &TaskId) -> CancellationToken {
        self.with_open(task, |open| open.cancel.clone())
    }

    fn with_open<T>(&self, task: &TaskId, act: impl FnOnce(&mut Open) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Open {
            changed: watch::Sender::new(0),
            cancel: CancellationToken::new(),
        };
        act(open.entry(task.clone()).or_insert_with(fresh))
    }
}

/// How a task ended.
pub(super) struct Ending {
    pub(super) status: TaskState,
    pub(super) reason: EndReason,
    pub(super) result: Option<String>,
    pub(super) error: Option<String>,
}

/// A model as people read it. The demo model is called so everywhere.
fn model_view(id: &str) -> ModelView {
    let demo = id == DEMO;
    ModelView {
        id: id.to_owned(),
        name: if demo {
            "demo model".to_owned()
        } else {
            id.to_owned()
        },
        demo,
    }
}
