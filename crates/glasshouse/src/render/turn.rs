//! A turn of an agent, as lines for people. Events in, lines out: knows neither connection nor terminal.

mod plan;
#[cfg(test)]
mod tests;
mod tool;

use std::collections::HashMap;

use glass_api::{EndReason, Event};

use self::plan::Plan;
use self::tool::Tool;
use super::markdown::Markdown;
use super::{Style, plain};

/// What the last line was part of. A blank line parts text from what is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Nothing,
    Text,
    Notes,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) reason: EndReason,
    pub(crate) message: Option<String>,
}

/// The state of a turn as far as its events tell.
#[derive(Debug)]
pub(crate) struct Turn {
    style: Style,
    text: Markdown,
    tools: HashMap<String, Tool>,
    plan: Plan,
    activity: String,
    preview: Option<String>,
    usage: Option<String>,
    ending: Option<Ending>,
    block: Block,
    /// Notes that came in the middle of a sentence and wait for its end.
    held: Vec<String>,
}

impl Turn {
    pub(crate) fn new(style: Style, width: Option<usize>) -> Self {
        Self {
            style,
            text: Markdown::new(style, width),
            tools: HashMap::new(),
            plan: Plan::default(),
            activity: "starting".to_owned(),
            preview: None,
            usage: None,
            ending: None,
            block: Block::Nothing,
            held: Vec::new(),
        }
    }

    /// The lines to print for an event.
    pub(crate) fn on(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Text { delta } => {
                "writing".clone_into(&mut self.activity);
                let lines = self.text.push(delta);
                let mut lines = self.in_block(Block::Text, lines);
                if !self.held.is_empty() && self.text.partial().is_empty() {
                    lines.extend(self.note(Vec::new()));
                }
                lines
            }
            Event::Thought { .. } => {
                "thinking".clone_into(&mut self.activity);
                Vec::new()
            }
            Event::Status { message } => {
                self.activity = plain(message);
                let line = self.style.dim(&format!("· {}", self.activity));
                self.note(vec![line])
            }
            Event::Tool { call, .. } => {
                let tool = self.tools.entry(call.clone()).or_default();
                let finished = tool.update(event);
                self.activity = tool.title();
                if !finished {
                    return Vec::new();
                }
                let lines = tool.lines(self.style);
                "thinking".clone_into(&mut self.activity);
                self.note(lines)
            }
            Event::Plan { entries } => {
                let lines = self.plan.update(entries, self.style);
                self.note(lines)
            }
            Event::Usage { .. } => {
                if let Some(usage) = usage(event) {
                    self.usage = Some(usage);
                }
                Vec::new()
            }
            Event::Preview { port, url } => self.on_preview(*port, url.as_deref()),
            Event::End { reason, message } => {
                self.ending = Some(Ending {
                    reason: *reason,
                    message: message.as_deref().map(plain),
                });
                let mut lines = self.note(Vec::new());
                if let Some(usage) = &self.usage {
                    lines.push(self.style.dim(&format!("· {usage}")));
                }
                lines
            }
        }
    }

    /// What goes on right now, for the line at the bottom.
    pub(crate) fn activity(&self) -> String {
        let partial = self.text.partial();
        if partial.is_empty() {
            format!("{}…", self.activity)
        } else {
            partial.to_owned()
        }
    }

    /// The URL at which the app answers.
    pub(crate) fn preview(&self) -> Option<&str> {
        self.preview.as_deref()
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    fn on_preview(&mut self, port: u16, url: Option<&str>) -> Vec<String> {
        let url = url.map(plain);
        if url == self.preview {
            return Vec::new();
        }
        let line = match &url {
            Some(url) => format!("{} preview {}", self.style.green("●"), self.style.link(url)),
            None => self.style.dim(&format!(
                "○ port {port} has closed; the preview waits for it"
            )),
        };
        self.preview = url;
        if self.text.partial().is_empty() {
            self.note(vec![line])
        } else {
            self.held.push(line);
            Vec::new()
        }
    }

    /// Lines that are not the agent's text. What is left of the text goes before them.
    fn note(&mut self, lines: Vec<String>) -> Vec<String> {
        let rest = self.text.end();
        let mut all = self.in_block(Block::Text, rest);
        let mut notes = std::mem::take(&mut self.held);
        notes.extend(lines);
        all.extend(self.in_block(Block::Notes, notes));
        all
    }

    fn in_block(&mut self, block: Block, mut lines: Vec<String>) -> Vec<String> {
        if block != self.block {
            // A text that begins with line breaks brings its distance with it.
            while lines.first().is_some_and(String::is_empty) {
                lines.remove(0);
            }
        }
        if lines.is_empty() {
            return lines;
        }
        if self.block != Block::Nothing && self.block != block {
            lines.insert(0, String::new());
        }
        self.block = block;
        lines
    }
}

/// Tokens and cost in a few words.
fn usage(event: &Event) -> Option<String> {
    let Event::Usage {
        used_tokens,
        input_tokens,
        output_tokens,
        cost_usd,
        ..
    } = event
    else {
        return None;
    };
    let mut parts = Vec::new();
    match (input_tokens, output_tokens, used_tokens) {
        (Some(input), Some(output), _) => {
            parts.push(format!(
                "{} tokens in, {} out",
                grouped(*input),
                grouped(*output)
            ));
        }
        (_, _, Some(used)) => parts.push(format!("{} tokens in the context", grouped(*used))),
        _ => {}
    }
    if let Some(cost) = cost_usd.filter(|cost| *cost > 0.0) {
        parts.push(format!("${cost:.2} at list price"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `12 345`: digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
