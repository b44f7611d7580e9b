//! What a turn wants sent.

use serde_json::{Value, json};

use super::{Ask, Asked, Outgoing, Phase, SKIP, Turn};
use crate::wire;

impl Turn {
    /// The messages that the agent needs now and that the log does not have yet.
    #[must_use]
    pub fn pending(&self) -> Vec<Outgoing> {
        let mut out: Vec<_> = self
            .requests
            .iter()
            .map(|asked| self.answer(asked))
            .collect();
        out.extend(self.next_message());
        out
    }

    fn next_message(&self) -> Option<Outgoing> {
        if self.cancel_wanted && !self.has_begun() && !self.is_gone() {
            // It takes the prompt's key: either the guest already has the prompt, and this is ignored, or it will never
            // take it. The log tells which.
            let params = json!({"task": self.spec.task});
            return Some(Outgoing {
                once: self.key("prompt"),
                line: wire::notification(SKIP, params),
            });
        }
        let session = self.session.as_deref().unwrap_or_default();
        let cwd = &self.spec.cwd;
        let (once, method, params) = match self.phase {
            Phase::Connecting => ("initialize".to_owned(), "initialize", hello()),
            Phase::Opening => match self.spec.resume_session.as_ref().filter(|_| self.can_load) {
                Some(id) => {
                    let params = json!({"sessionId": id, "cwd": cwd, "mcpServers": []});
                    ("session".to_owned(), "session/load", params)
                }
                None => {
                    let params = json!({"cwd": cwd, "mcpServers": []});
                    ("session".to_owned(), "session/new", params)
                }
            },
            Phase::OpeningFresh => {
                let params = json!({"cwd": cwd, "mcpServers": []});
                ("session-fresh".to_owned(), "session/new", params)
            }
            Phase::SettingMode => {
                let params = json!({"sessionId": session, "modeId": self.spec.agent.mode});
                ("mode".to_owned(), "session/set_mode", params)
            }
            Phase::Ready if self.needs_model() => {
                let value = self.spec.agent.acp_model(&self.spec.model);
                let params = json!({"sessionId": session, "configId": "model", "value": value});
                (self.key("model"), "session/set_config_option", params)
            }
            Phase::Ready => {
                let prompt = json!([{"type": "text", "text": self.spec.prompt}]);
                let params = json!({"sessionId": session, "prompt": prompt});
                (self.key("prompt"), "session/prompt", params)
            }
            Phase::Working if self.cancel_wanted && !self.cancel_sent => {
                return Some(Outgoing {
                    once: self.key("cancel"),
                    line: wire::notification("session/cancel", json!({"sessionId": session})),
                });
            }
            Phase::Working | Phase::Ended | Phase::Gone => return None,
        };
        let line = wire::request(&once, method, params);
        Some(Outgoing { once, line })
    }

    /// A fresh session has the model that the process was started with; others may have another.
    fn needs_model(&self) -> bool {
        let fresh = self.other_prompts == 0 && (self.loading.is_none() || self.session_lost);
        let wanted = self.spec.agent.acp_model(&self.spec.model);
        let differs = self
            .current_model
            .as_ref()
            .is_some_and(|now| *now != wanted);
        !fresh && !self.model_set && differs
    }

    fn answer(&self, asked: &Asked) -> Outgoing {
        let line = match &asked.what {
            Ask::Permission(Some(option)) if !self.is_cancelling() => wire::response(
                &asked.id,
                json!({"outcome": {"outcome": "selected", "optionId": option}}),
            ),
            Ask::Permission(_) => {
                wire::response(&asked.id, json!({"outcome": {"outcome": "cancelled"}}))
            }
            Ask::Other(method) => wire::refusal(&asked.id, method),
        };
        Outgoing {
            once: format!("reply:{}", asked.id),
            line,
        }
    }
}

fn hello() -> Value {
    json!({
        "protocolVersion": 1,
        // Everything happens in the sandbox: the agent reads, writes and runs by itself.
        "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false},
        "clientInfo": {"name": "glasshouse", "title": "Glasshouse", "version": env!("CARGO_PKG_VERSION")},
    })
}
