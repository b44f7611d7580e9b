//! Tasks: prompts on disk before they are acknowledged, worked on one after another in each sandbox.
//!
//! A sandbox with open tasks has one worker. What a worker does is a function of rows and of the agent's log, so the
//! worker of a restarted server goes on where the last one was killed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use glass_agent::{AgentManifest, AgentRegistry};
use glass_api::{AgentView, Code, ModelView, Problem, TaskParams, TaskView};
use glass_gateway::{Protocol, ProviderView};
use glass_guest_protocol::WEB_PORT;
use glass_store::{EventRow, Store, TaskRow};
use glass_types::{Event, SandboxId, SandboxState, TaskId, TaskState};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open_tasks::{Hold, OpenTasks};
use super::{Refusals, Sandboxes, validate};
use crate::clock;
use crate::error::ApiError;

/// The model that needs no key.
const DEMO: &str = "demo";

/// All tasks of this server.
pub(crate) struct Tasks {
    pub(super) store: Store,
    pub(super) sandboxes: Arc<Sandboxes>,
    pub(super) agents: AgentRegistry,
    pub(super) refusals: Refusals,
    /// Protocols for which the gateway has a real credential.
    with_key: Vec<Protocol>,
    default_agent: String,
    pub(super) workers: Mutex<HashSet<SandboxId>>,
    pub(super) open: OpenTasks,
    pub(super) tracker: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(
        store: Store,
        sandboxes: Arc<Sandboxes>,
        agents: AgentRegistry,
        refusals: Refusals,
        providers: &[ProviderView],
        default_agent: String,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            sandboxes,
            agents,
            refusals,
            with_key: providers
                .iter()
                .filter(|view| !view.demo)
                .map(|view| view.protocol)
                .collect(),
            default_agent,
            workers: Mutex::default(),
            open: OpenTasks::default(),
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
        let last = self.store.last_task_of(sandbox).await?;
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
        if let Err(error) = self.store.insert_task(&task).await {
            // The sandbox may have been removed since we looked.
            self.sandboxes.get(sandbox).await?;
            return Err(error.into());
        }
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
            self.open.cancel(id);
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

    /// Holds a task, to see its changes.
    pub(crate) fn hold(&self, id: &TaskId) -> Hold {
        self.open.hold(id)
    }

    /// Cancelled when the server stops.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Makes sure that all open tasks are worked on.
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

    /// Stores an event of the server's own.
    pub(super) async fn note(&self, task: &TaskId, event: Event) {
        if let Err(error) = self
            .store
            .append_events(task, None, &[event], clock::now())
            .await
        {
            tracing::error!(task.id = %task, %error, "cannot store an event");
        }
        self.open.changed(task);
    }
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
