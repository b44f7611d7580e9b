//! How a turn ends.

use glass_types::EndReason;
use serde_json::Value;

use super::{Phase, Step, Turn, failure};
use crate::wire::{self, RpcError};
use crate::{Quirk, clip};

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub reason: EndReason,
    /// What people should know.
    pub message: Option<String>,
}

impl Ending {
    pub(super) fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: Some(message.into()),
        }
    }
}

impl Turn {
    /// The answer to our prompt ends the turn.
    pub(super) fn on_answer(&mut self, result: Result<Value, RpcError>) -> Step {
        let mut events = Vec::new();
        let ending = match result {
            Ok(result) => {
                let last_step_only = self.spec.agent.has(Quirk::UsageOfLastStep);
                if !last_step_only && self.usage.take_total(&result["usage"]) {
                    events.push(self.usage.event());
                }
                self.ending(wire::text(&result, "stopReason").unwrap_or_default())
            }
            Err(_) if self.is_cancelling() => cancelled(),
            Err(error) => Ending::new(
                EndReason::Failed,
                failure::of_error(&error, &self.said, &self.spec),
            ),
        };
        let mut step = self.end(ending);
        events.append(&mut step.events);
        step.events = events;
        step
    }

    fn ending(&self, stop_reason: &str) -> Ending {
        if self.is_cancelling() {
            return cancelled();
        }
        match stop_reason {
            "end_turn" => match failure::in_text(&self.said, &self.spec) {
                Some(message) if self.tools.is_empty() => Ending::new(EndReason::Failed, message),
                _ if self.said.is_empty() && self.tools.is_empty() => {
                    Ending::new(EndReason::Completed, "the agent ended without an answer")
                }
                _ => Ending {
                    reason: EndReason::Completed,
                    message: None,
                },
            },
            "max_tokens" => Ending::new(
                EndReason::Limit,
                "the model reached its limit of tokens; ask it to go on",
            ),
            "max_turn_requests" => Ending::new(
                EndReason::Limit,
                "the agent reached its limit of requests; ask it to go on",
            ),
            "refusal" => Ending::new(
                EndReason::Refused,
                match self.said.trim() {
                    "" => "the model refused; say it in other words".to_owned(),
                    said => format!("the model refused: {}", clip::clip(said, clip::MESSAGE)),
                },
            ),
            "cancelled" => Ending::new(EndReason::Cancelled, "the agent cancelled the turn itself"),
            other => Ending::new(
                EndReason::Failed,
                format!(
                    "the agent stopped for an unknown reason: {:?}",
                    clip::line(other)
                ),
            ),
        }
    }

    pub(super) fn on_exit(&mut self, status: &str) -> Step {
        if self.phase != Phase::Working {
            self.phase = Phase::Gone;
            if self.stderr.is_empty() {
                self.stderr.push(clip::line(status));
            }
            return Step::default();
        }
        if self.is_cancelling() {
            return self.end(cancelled());
        }
        let mut message = format!(
            "{} ended in the middle of its work ({}); ask again to go on",
            self.spec.agent.name,
            clip::line(status)
        );
        if let Some(complaint) = self.complaint() {
            message = format!("{message}. It said: {complaint}");
        }
        self.end(Ending::new(EndReason::Failed, message))
    }
}

const fn cancelled() -> Ending {
    Ending {
        reason: EndReason::Cancelled,
        message: None,
    }
}
