//! One `session/update` of the agent as events.

use glass_types::{Event, PlanEntry};
use serde_json::Value;

use super::{Phase, SAID, Turn, usage};
use crate::clip;
use crate::wire;

/// Longer plans are cut.
const MAX_PLAN: usize = 200;

impl Turn {
    pub(super) fn on_update(&mut self, update: &Value) -> Vec<Event> {
        let kind = wire::text(update, "sessionUpdate").unwrap_or_default();
        if self.phase != Phase::Working {
            // The rest is history of other turns, which their own logs have.
            match kind {
                "usage_update" => {
                    self.cost_before = usage::cost(update).unwrap_or(self.cost_before)
                }
                "config_option_update" => self.note_model(update),
                _ => {}
            }
            return Vec::new();
        }
        match kind {
            "agent_message_chunk" => self.on_text(update),
            "agent_thought_chunk" => chunk(update)
                .map(|delta| Event::Thought { delta })
                .into_iter()
                .collect(),
            "tool_call" | "tool_call_update" => self.on_tool(update),
            "plan" => plan(wire::list(update, "entries")).into_iter().collect(),
            "usage_update" => {
                let has_price = !self.spec.agent.is_demo(&self.spec.model);
                let cost_before = has_price.then_some(self.cost_before);
                let changed = self.usage.take_update(update, cost_before);
                changed.then(|| self.usage.event()).into_iter().collect()
            }
            "config_option_update" => {
                self.note_model(update);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn on_tool(&mut self, call: &Value) -> Vec<Event> {
        self.tools.upsert(call, &self.spec.agent, &self.spec.cwd)
    }

    fn on_text(&mut self, update: &Value) -> Vec<Event> {
        let Some(delta) = chunk(update) else {
            return Vec::new();
        };
        self.said.push_str(&delta);
        if self.said.len() > 2 * SAID {
            self.said = clip::tail(&self.said, SAID).to_owned();
        }
        vec![Event::Text { delta }]
    }
}

fn chunk(update: &Value) -> Option<String> {
    let text = block(update.get("content")?)?;
    (!text.is_empty()).then_some(text)
}

/// A content block as text.
pub(super) fn block(content: &Value) -> Option<String> {
    match wire::text(content, "type")? {
        "text" => wire::text(content, "text").map(|text| clip::clip(text, clip::TEXT)),
        "resource_link" => {
            let uri = clip::line(wire::text(content, "uri")?);
            let name = wire::text(content, "name").map_or_else(|| uri.clone(), clip::line);
            Some(format!("[{name}]({uri})"))
        }
        "resource" => content
            .pointer("/resource/text")?
            .as_str()
            .map(|text| clip::clip(text, clip::TEXT)),
        other => Some(format!("[{}]", clip::line(other))),
    }
}

/// A plan from ACP entries or from the to-do items of a tool; both have `content` and `status`.
pub(super) fn plan(entries: &[Value]) -> Option<Event> {
    let entries: Vec<_> = entries
        .iter()
        .take(MAX_PLAN)
        .filter_map(|entry| {
            let status = match wire::text(entry, "status") {
                Some(status @ ("in_progress" | "completed")) => status,
                // OpenCode has this one too; such an entry is not to be done any more.
                Some("cancelled") => "completed",
                _ => "pending",
            };
            Some(PlanEntry {
                content: clip::line(wire::text(entry, "content")?),
                status: status.to_owned(),
            })
        })
        .collect();
    (!entries.is_empty()).then_some(Event::Plan { entries })
}
