//! One turn as a pure function of the agent process's numbered log.
//!
//! ```text
//!  Connecting ─► Opening ─► (OpeningFresh) ─► (SettingMode) ─► Ready ─► Working ─► Ended
//!       └───────────┴────────────┴── refused, or exit: Gone ─────┘
//! ```
//!
//! - Connecting: `initialize` is not answered. Opening: the session is not there. `OpeningFresh`: the earlier session
//!   could not be loaded, a new one is being made. `SettingMode`: the unattended mode is being set.
//! - Ready: this turn's prompt is not yet in the log; there may be other turns' prompts.
//! - Working: the prompt is in the log. From here on lines give events.
//! - Gone: the process ended, or must be ended, before the prompt was in the log; another process may do better.
//!
//! What is to be sent is a function of the state ([`Turn::pending`]), not a reaction to a line, and each message has a key
//! (`initialize`, `session`, `prompt:<task>`, …) by which the guest takes it once. So a server that was killed reads the log
//! from the first line, arrives at the same state, and nothing is lost or said twice. The keys are the JSON-RPC ids too,
//! so the log alone says which answer belongs to which question.
//!
//! One process carries many turns: everything before this turn's prompt only moves the handshake on.

mod ending;
mod failure;
mod outgoing;
mod tools;
mod update;
mod usage;

use glass_types::{EndReason, Event};
use serde_json::Value;

use crate::clip;
use crate::wire::{self, Message, RpcError};
use crate::{AgentLine, AgentManifest, LineSource};

pub use ending::Ending;
use tools::Tools;
pub use usage::TurnUsage;

/// More requests of the agent at once are not answered.
const MAX_REQUESTS: usize = 256;
/// Lines of standard error that a failure shows.
const STDERR_LINES: usize = 12;
/// What was said last is kept up to this size, to find errors in it.
const SAID: usize = 2048;
/// Takes the place of a prompt that was cancelled before it was sent. Agents ignore it.
const SKIP: &str = "_glasshouse/skip";

/// What one turn is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnSpec {
    /// The task's id; makes the keys of this turn's messages.
    pub task: String,
    /// Who does it.
    pub agent: AgentManifest,
    /// The model, by the provider's name for it.
    pub model: String,
    /// What the person said.
    pub prompt: String,
    /// Working directory in the sandbox.
    pub cwd: String,
    /// ACP session to go on with when the process is new.
    pub resume_session: Option<String>,
}

/// A line for the agent's standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The guest takes a line with this key once per process.
    pub once: String,
    /// One JSON-RPC message.
    pub line: String,
}

/// What one line of the log gave rise to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// To be stored under the line's number.
    pub events: Vec<Event>,
    /// Set by the turn's last line.
    pub done: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Opening,
    OpeningFresh,
    SettingMode,
    Ready,
    Working,
    Ended,
    Gone,
}

/// A request of the agent that the log has no answer to.
#[derive(Debug, Clone)]
struct Asked {
    id: Value,
    what: Ask,
}

#[derive(Debug, Clone)]
enum Ask {
    /// May it? With the option that says yes.
    Permission(Option<String>),
    /// Something we do not offer.
    Other(String),
}

/// A turn in progress. See the module's head.
#[derive(Debug, Clone)]
pub struct Turn {
    spec: TurnSpec,
    phase: Phase,
    session: Option<String>,
    can_load: bool,
    /// The session of the `session/load` that was sent, if one was.
    loading: Option<String>,
    /// The agent could not go on with the earlier session.
    session_lost: bool,
    /// Prompts of other turns before ours.
    other_prompts: usize,
    /// What the agent says its model is.
    current_model: Option<String>,
    model_set: bool,
    cancel_wanted: bool,
    cancel_sent: bool,
    requests: Vec<Asked>,
    stderr: Vec<String>,
    /// Why the process is of no use, in words.
    refusal: Option<String>,
    said: String,
    tools: Tools,
    usage: TurnUsage,
    /// Cost that the agent had counted before this turn.
    cost_before: f64,
}

impl Turn {
    /// A turn that has seen nothing yet.
    #[must_use]
    pub fn new(spec: TurnSpec) -> Self {
        Self {
            spec,
            phase: Phase::Connecting,
            session: None,
            can_load: false,
            loading: None,
            session_lost: false,
            other_prompts: 0,
            current_model: None,
            model_set: false,
            cancel_wanted: false,
            cancel_sent: false,
            requests: Vec::new(),
            stderr: Vec::new(),
            refusal: None,
            said: String::new(),
            tools: Tools::default(),
            usage: TurnUsage::default(),
            cost_before: 0.0,
        }
    }

    /// Takes the next line of the log.
    pub fn on_line(&mut self, line: &AgentLine) -> Step {
        if matches!(self.phase, Phase::Ended | Phase::Gone) {
            return Step::default();
        }
        match line.source {
            LineSource::Stdin => wire::read(&line.text).map(|message| self.on_sent(&message)),
            LineSource::Stdout => wire::read(&line.text).map(|message| self.on_message(message)),
            LineSource::Stderr => {
                self.on_stderr(&line.text);
                None
            }
            LineSource::Exit => Some(self.on_exit(&line.text)),
        }
        .unwrap_or_default()
    }

    /// From now on the turn is to be cancelled.
    pub fn cancel(&mut self) {
        self.cancel_wanted = true;
    }

    /// Whether the turn is being cancelled, by [`Turn::cancel`] or by the log.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.cancel_wanted || self.cancel_sent
    }

    /// Whether the process ended, or is of no use, before the prompt was in its log.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether the prompt is in the log.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Ended)
    }

    /// The ACP session, once there is one.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// What the turn has used so far.
    #[must_use]
    pub const fn usage(&self) -> &TurnUsage {
        &self.usage
    }

    /// Why the agent is of no use: its refusal, or the last it said on standard error.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let said = match &self.refusal {
            Some(refusal) => refusal.clone(),
            None => self.stderr.join("\n"),
        };
        (!said.is_empty()).then_some(said)
    }

    fn key(&self, what: &str) -> String {
        format!("{what}:{}", self.spec.task)
    }

    /// A message that we sent, now or before a restart, for this turn or for another.
    fn on_sent(&mut self, message: &Message) -> Step {
        match message {
            Message::Request { id, method, params } => {
                let id = id.as_str().unwrap_or_default();
                if id == self.key("prompt") {
                    return self.begin();
                }
                if id.starts_with("prompt:") {
                    self.other_prompts += 1;
                    self.stderr.clear();
                } else if id == "session" && method == "session/load" {
                    self.loading = wire::text(params, "sessionId").map(str::to_owned);
                }
                Step::default()
            }
            Message::Notification { method, params } => match method.as_str() {
                "session/cancel" if self.phase == Phase::Working => {
                    self.cancel_sent = true;
                    Step::default()
                }
                SKIP if wire::text(params, "task") == Some(&self.spec.task) => self.end(
                    Ending::new(EndReason::Cancelled, "cancelled before it began"),
                ),
                _ => Step::default(),
            },
            Message::Response { id, .. } => {
                self.requests.retain(|asked| asked.id != *id);
                Step::default()
            }
        }
    }

    fn begin(&mut self) -> Step {
        if self.phase == Phase::Working {
            return Step::default();
        }
        self.phase = Phase::Working;
        let mut events = Vec::new();
        if self.session_lost && self.other_prompts == 0 {
            events.push(Event::Status {
                message: "the agent could not load the earlier conversation and starts afresh"
                    .to_owned(),
            });
        }
        events.push(Event::Status {
            message: "working".to_owned(),
        });
        Step { events, done: None }
    }

    fn on_message(&mut self, message: Message) -> Step {
        match message {
            Message::Request { id, method, params } => self.on_request(id, method, &params),
            Message::Notification { method, params } if method == "session/update" => {
                let ours = wire::text(&params, "sessionId") == self.session.as_deref();
                let update = params.get("update").unwrap_or(&Value::Null);
                Step {
                    events: if ours {
                        self.on_update(update)
                    } else {
                        Vec::new()
                    },
                    done: None,
                }
            }
            Message::Notification { .. } => Step::default(),
            Message::Response { id, result } => {
                self.on_response(id.as_str().unwrap_or_default(), result)
            }
        }
    }

    fn on_request(&mut self, id: Value, method: String, params: &Value) -> Step {
        let mut events = Vec::new();
        let what = if method == "session/request_permission" {
            if self.phase == Phase::Working {
                // Some agents announce a call by asking, so the question makes the call too.
                let call = params.get("toolCall").unwrap_or(&Value::Null);
                events = self.on_tool(call);
            }
            Ask::Permission(yes(wire::list(params, "options")))
        } else {
            Ask::Other(method)
        };
        if self.requests.len() < MAX_REQUESTS {
            self.requests.push(Asked { id, what });
        }
        Step { events, done: None }
    }

    fn on_response(&mut self, id: &str, result: Result<Value, RpcError>) -> Step {
        match (id, result) {
            ("initialize", Ok(result)) if self.phase == Phase::Connecting => {
                let can = result.pointer("/agentCapabilities/loadSession");
                self.can_load = can.and_then(Value::as_bool).unwrap_or(false);
                // Without the ability the conversation is lost just as when loading fails.
                self.session_lost = self.spec.resume_session.is_some() && !self.can_load;
                self.phase = Phase::Opening;
            }
            ("session", Err(_)) if self.phase == Phase::Opening && self.loading.is_some() => {
                self.session_lost = true;
                self.phase = Phase::OpeningFresh;
            }
            ("session", Ok(result)) if self.phase == Phase::Opening => self.opened(&result),
            ("session-fresh", Ok(result)) if self.phase == Phase::OpeningFresh => {
                self.loading = None;
                self.opened(&result);
            }
            ("initialize" | "session" | "session-fresh", Err(error)) if !self.has_begun() => {
                self.refusal = Some(failure::of_error(&error, "", &self.spec));
                self.phase = Phase::Gone;
            }
            ("mode", _) if self.phase == Phase::SettingMode => self.phase = Phase::Ready,
            (id, result) if id == self.key("model") && self.phase == Phase::Ready => {
                return self.on_model(result);
            }
            (id, Ok(result)) if id.starts_with("model:") => self.note_model(&result),
            (id, result) if id == self.key("prompt") => return self.on_answer(result),
            _ => {}
        }
        Step::default()
    }

    fn opened(&mut self, result: &Value) {
        let id = wire::text(result, "sessionId").map(str::to_owned);
        self.session = id.or_else(|| self.loading.clone());
        if self.session.is_none() {
            self.refusal = Some("it opened a session without an id".to_owned());
            self.phase = Phase::Gone;
            return;
        }
        self.note_model(result);
        let modes = result.get("modes").unwrap_or(&Value::Null);
        let current = wire::text(modes, "currentModeId");
        let needed = self.spec.agent.mode.as_deref().filter(|mode| {
            let offered = wire::list(modes, "availableModes");
            current != Some(*mode) && offered.iter().any(|m| wire::text(m, "id") == Some(*mode))
        });
        self.phase = match needed {
            Some(_) => Phase::SettingMode,
            None => Phase::Ready,
        };
    }

    fn note_model(&mut self, holder: &Value) {
        let options = wire::list(holder, "configOptions");
        let model = options
            .iter()
            .find(|option| wire::text(option, "id") == Some("model"));
        if let Some(now) = model.and_then(|option| wire::text(option, "currentValue")) {
            self.current_model = Some(now.to_owned());
        }
    }

    fn on_model(&mut self, result: Result<Value, RpcError>) -> Step {
        match result {
            Ok(result) => {
                self.note_model(&result);
                self.model_set = true;
                Step::default()
            }
            Err(error) => {
                let message = format!(
                    "{} cannot change to model {}: {}; name another model, or stop and start the sandbox to start the agent with it",
                    self.spec.agent.name,
                    self.spec.model,
                    failure::reason(&error),
                );
                self.end(Ending::new(EndReason::Failed, message))
            }
        }
    }

    fn on_stderr(&mut self, text: &str) {
        let noise = &self.spec.agent.stderr_noise;
        if text.trim().is_empty() || noise.iter().any(|start| text.starts_with(start)) {
            return;
        }
        if self.stderr.len() == STDERR_LINES {
            self.stderr.remove(0);
        }
        self.stderr.push(clip::line(text));
    }

    fn end(&mut self, ending: Ending) -> Step {
        self.phase = Phase::Ended;
        Step {
            events: self.tools.close(),
            done: Some(ending),
        }
    }
}

/// The option that allows most. Nobody watches, and the sandbox is the boundary.
fn yes(options: &[Value]) -> Option<String> {
    let by_kind = |kind: &str| {
        options
            .iter()
            .find(|option| wire::text(option, "kind") == Some(kind))
            .and_then(|option| wire::text(option, "optionId"))
    };
    by_kind("allow_always")
        .or_else(|| by_kind("allow_once"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
