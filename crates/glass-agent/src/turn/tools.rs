//! The tool calls of a turn.

use std::collections::BTreeMap;

use glass_types::{DiffView, Event, ToolStatus};
use serde_json::Value;

use super::update;
use crate::clip;
use crate::wire::{list, text};
use crate::{AgentManifest, Quirk};

/// Longer ids are no ids.
const MAX_ID: usize = 256;
/// Paths and diffs of one message; more are cut.
const MAX_FILES: usize = 50;
/// More calls in one turn are shown, but not closed at its end.
const MAX_CALLS: usize = 10_000;

/// The tool calls of a turn, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Tools {
    calls: BTreeMap<String, Call>,
}

#[derive(Debug, Clone)]
struct Call {
    /// Place in the order of first appearance.
    nth: usize,
    status: ToolStatus,
    /// Its first title.
    name: String,
    /// What was shown last, so that what says nothing new is not shown again.
    shown: Shown,
    /// OpenCode's to-do tool: its input is the plan.
    is_plan: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Shown {
    title: Option<String>,
    kind: Option<String>,
    paths: Vec<String>,
    diffs: Vec<DiffView>,
    output: Option<String>,
    input: Option<String>,
}

impl Tools {
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes a `tool_call`, a `tool_call_update` or the tool call of a permission request; all have the same fields.
    pub(super) fn upsert(
        &mut self,
        update: &Value,
        agent: &AgentManifest,
        cwd: &str,
    ) -> Vec<Event> {
        let Some(id) = text(update, "toolCallId").filter(|id| id.len() <= MAX_ID) else {
            return Vec::new();
        };
        let status = status(update);
        let old = self.calls.get(id);
        let mut new = read(update, agent, old, cwd);
        // What is told before the call runs is a description, not something it printed.
        let now = status.or_else(|| old.map(|call| call.status));
        if now.is_none_or(|now| now == ToolStatus::Pending) {
            new.output = None;
        }
        let nth = self.calls.len();
        let Some(call) = self.calls.get_mut(id) else {
            let is_plan =
                agent.has(Quirk::TodowriteIsPlan) && text(update, "title") == Some("todowrite");
            let call = Call {
                nth,
                status: status.unwrap_or(ToolStatus::Pending),
                name: text(update, "title").map(clip::line).unwrap_or_default(),
                shown: new.clone(),
                is_plan,
            };
            let event = if is_plan {
                plan(update)
            } else {
                Some(new.event(id, Some(call.status)))
            };
            if nth < MAX_CALLS {
                self.calls.insert(id.to_owned(), call);
            }
            return event.into_iter().collect();
        };
        let moved = status.filter(|status| *status != call.status);
        call.status = status.unwrap_or(call.status);
        if call.is_plan {
            // The items are repeated when the call completes; once is enough.
            let changed = new.input.is_some() && new.input != call.shown.input;
            call.shown.input = new.input.or_else(|| call.shown.input.take());
            return plan(update).filter(|_| changed).into_iter().collect();
        }
        let changed = call.shown.differ(&mut new);
        if !changed && moved.is_none() {
            return Vec::new();
        }
        vec![new.event(id, moved)]
    }

    /// Closes what has not finished: nobody will.
    pub(super) fn close(&mut self) -> Vec<Event> {
        let mut open: Vec<_> = self
            .calls
            .iter_mut()
            .filter(|(_, call)| !call.is_plan)
            .filter(|(_, call)| matches!(call.status, ToolStatus::Pending | ToolStatus::InProgress))
            .collect();
        open.sort_by_key(|(_, call)| call.nth);
        open.into_iter()
            .map(|(id, call)| {
                call.status = ToolStatus::Failed;
                Shown::default().event(id, Some(ToolStatus::Failed))
            })
            .collect()
    }
}

impl Shown {
    fn event(self, call: &str, status: Option<ToolStatus>) -> Event {
        Event::Tool {
            call: call.to_owned(),
            title: self.title,
            kind: self.kind,
            status,
            paths: self.paths,
            diffs: self.diffs,
            output: self.output,
            input: self.input,
        }
    }

    /// Leaves in `new` only what was not shown before, and remembers it.
    fn differ(&mut self, new: &mut Self) -> bool {
        fn one<T: PartialEq + Clone>(old: &mut Option<T>, new: &mut Option<T>) -> bool {
            if *new == *old {
                *new = None;
            }
            if new.is_some() {
                old.clone_from(new);
            }
            new.is_some()
        }
        fn many<T: PartialEq + Clone>(old: &mut Vec<T>, new: &mut Vec<T>) -> bool {
            if *new == *old {
                new.clear();
            }
            if !new.is_empty() {
                old.clone_from(new);
            }
            !new.is_empty()
        }
        let fields = [
            one(&mut self.title, &mut new.title),
            one(&mut self.kind, &mut new.kind),
            many(&mut self.paths, &mut new.paths),
            many(&mut self.diffs, &mut new.diffs),
            one(&mut self.output, &mut new.output),
            one(&mut self.input, &mut new.input),
        ];
        fields.contains(&true)
    }
}

fn status(update: &Value) -> Option<ToolStatus> {
    match text(update, "status")? {
        "pending" => Some(ToolStatus::Pending),
        "in_progress" => Some(ToolStatus::InProgress),
        "completed" => Some(ToolStatus::Completed),
        "failed" => Some(ToolStatus::Failed),
        _ => None,
    }
}

fn read(update: &Value, agent: &AgentManifest, old: Option<&Call>, cwd: &str) -> Shown {
    let input = update.get("rawInput").unwrap_or(&Value::Null);
    let mut shown = Shown {
        title: title(update, agent, old, cwd),
        kind: text(update, "kind").map(clip::line),
        paths: paths(update),
        diffs: diffs(update),
        output: output(update),
        input: raw_input(input),
    };
    if shown.diffs.is_empty() && agent.has(Quirk::WriteDiffFromInput) {
        shown.diffs.extend(written(input));
    }
    shown
}

/// Paths in titles are shown as seen from the workspace.
fn title(update: &Value, agent: &AgentManifest, old: Option<&Call>, cwd: &str) -> Option<String> {
    let given = text(update, "title").filter(|title| !title.is_empty());
    let inside = format!("{}/", cwd.trim_end_matches('/'));
    let subject = match old {
        Some(call)
            if agent.has(Quirk::TitleIsSubject)
                && call.shown.kind.as_deref() != Some("execute") =>
        {
            let path = paths(update).into_iter().next();
            let path = path.or_else(|| call.shown.paths.first().cloned());
            let subject =
                path.or_else(|| given.filter(|title| *title != call.name).map(str::to_owned))?;
            format!("{} {subject}", capitalised(&call.name))
        }
        _ => given?.to_owned(),
    };
    Some(clip::line(&subject.replace(&inside, "")))
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn paths(update: &Value) -> Vec<String> {
    list(update, "locations")
        .iter()
        .filter_map(|location| text(location, "path"))
        .take(MAX_FILES)
        .map(clip::line)
        .collect()
}

fn diffs(update: &Value) -> Vec<DiffView> {
    list(update, "content")
        .iter()
        .filter(|item| text(item, "type") == Some("diff"))
        .take(MAX_FILES)
        .filter_map(|item| {
            Some(DiffView {
                path: clip::line(text(item, "path")?),
                old_text: text(item, "oldText").map(|old| clip::clip(old, clip::DIFF)),
                new_text: clip::clip(text(item, "newText").unwrap_or_default(), clip::DIFF),
            })
        })
        .collect()
}

/// What a tool of the shape `{filePath, content}` wrote.
fn written(input: &Value) -> Option<DiffView> {
    Some(DiffView {
        path: clip::line(text(input, "filePath")?),
        old_text: None,
        new_text: clip::clip(text(input, "content")?, clip::DIFF),
    })
}

/// What the tool printed: its content, or else its raw output, whose shape differs from agent to agent.
fn output(update: &Value) -> Option<String> {
    let blocks: Vec<_> = list(update, "content")
        .iter()
        .filter(|item| text(item, "type") == Some("content"))
        .filter_map(|item| update::block(item.get("content")?))
        .collect();
    let printed = if blocks.is_empty() {
        raw_output(update.get("rawOutput")?)?
    } else {
        blocks.join("\n")
    };
    let printed = unfenced(&printed);
    (!printed.is_empty()).then(|| clip::clip(printed, clip::OUTPUT))
}

fn raw_output(raw: &Value) -> Option<String> {
    const NAMES: [&str; 5] = ["output", "formatted_output", "stdout", "error", "message"];
    match raw {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => NAMES
            .iter()
            .find_map(|name| object.get(*name)?.as_str().map(str::to_owned)),
        _ => None,
    }
}

/// Without the Markdown fence that some agents put around everything a command printed.
fn unfenced(printed: &str) -> &str {
    let inner = printed
        .trim_end()
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .and_then(|rest| rest.split_once('\n'))
        .filter(|(language, inner)| !language.contains('`') && !inner.contains("\n```"));
    inner.map_or(printed, |(_, inner)| inner.trim_end())
}

fn raw_input(input: &Value) -> Option<String> {
    let nothing = match input {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    (!nothing).then(|| clip::clip(&input.to_string(), clip::OUTPUT))
}

fn plan(update: &Value) -> Option<Event> {
    update::plan(list(update.get("rawInput")?, "todos"))
}
