//! Replays a script over the results that the request already holds.
//!
//! Every method that needs a tool returns `Err` with the call when its result is not there yet: the script stops with
//! `?`, and the call is the reply. When the same request comes back with the result, the script passes that place.

use super::conversation::ToolResult;
use super::reply::{Call, Reply};
use super::tools::{Ability, PlanLine, Tools};
use super::{edit, listing};

/// The next message is this call.
#[derive(Debug)]
pub(crate) struct Next(pub(crate) Call);

/// A tool refused, and so did the other way to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

/// What a step gave, once its calls have results.
pub(crate) type Step<T> = Result<T, Next>;

/// More results than any script asks for: something is going round in circles.
const RESULTS: usize = 60;

/// A script's place in the results.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    tools: Tools<'a>,
    workspace: String,
    results: std::vec::IntoIter<ToolResult>,
}

impl<'a> Run<'a> {
    /// `None` when there are more results than a script can have asked for.
    pub(crate) fn new(
        tools: Tools<'a>,
        workspace: String,
        results: Vec<ToolResult>,
    ) -> Option<Self> {
        (results.len() <= RESULTS).then(|| Self {
            tools,
            workspace,
            results: results.into_iter(),
        })
    }

    /// The call has its result, or is what comes next.
    fn call(&mut self, call: Call) -> Step<ToolResult> {
        self.results.next().ok_or(Next(call))
    }

    pub(crate) fn workspace(&self) -> &str {
        &self.workspace
    }

    fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.workspace)
    }

    /// Shows the plan, where the agent has one. A refusal does not matter.
    pub(crate) fn plan(&mut self, lines: &[&str], done: usize) -> Step<()> {
        let lines: Vec<PlanLine> = lines
            .iter()
            .enumerate()
            .map(|(index, line)| PlanLine {
                content: (*line).to_owned(),
                status: match index.cmp(&done) {
                    std::cmp::Ordering::Less => "completed",
                    std::cmp::Ordering::Equal => "in_progress",
                    std::cmp::Ordering::Greater => "pending",
                },
            })
            .collect();
        match self.tools.plan(&lines) {
            Some(call) => self.call(call).map(drop),
            None => Ok(()),
        }
    }

    /// Runs a command; `None` without a shell.
    pub(crate) fn shell(&mut self, command: &str, description: &str) -> Step<Option<ToolResult>> {
        match self.tools.shell(command, description) {
            Some(call) => self.call(call).map(Some),
            None => Ok(None),
        }
    }

    /// The text of a file.
    pub(crate) fn read(&mut self, file: &str) -> Step<Result<String, Failure>> {
        let path = self.path(file);
        let command = format!("cat {}", quoted(&path));
        let (result, shown) = if let Some(call) = self.tools.read(&path) {
            (self.call(call)?, true)
        } else if let Some(result) = self.shell(&command, &format!("Read {file}"))? {
            (result, false)
        } else {
            return Ok(Err(Failure("there is no tool to read files".into())));
        };
        if result.failed {
            return Ok(Err(Failure(result.text)));
        }
        Ok(Ok(if shown {
            listing::text(&result.text)
        } else {
            listing::output(&result.text)
        }))
    }

    /// Writes a whole file; a second way when the first is refused.
    pub(crate) fn write(&mut self, file: &str, content: &str) -> Step<Result<(), Failure>> {
        let path = self.path(file);
        let first = if let Some(call) = self.tools.write(&path, content) {
            let result = self.call(call)?;
            if !result.failed {
                return Ok(Ok(()));
            }
            // Agents refuse to overwrite a file that they have not shown to the model.
            if result.text.to_lowercase().contains("read")
                && let Some(read) = self.tools.read(&path)
                && let Some(again) = self.tools.write(&path, content)
            {
                self.call(read)?;
                if !self.call(again)?.failed {
                    return Ok(Ok(()));
                }
            }
            Some(result.text)
        } else if let Some(call) = self.tools.patch(&added(&path, content)) {
            let result = self.call(call)?;
            if !result.failed {
                return Ok(Ok(()));
            }
            Some(result.text)
        } else {
            None
        };
        let command = heredoc(&path, content);
        match self.shell(&command, &format!("Write {file}"))? {
            Some(result) if !result.failed => Ok(Ok(())),
            Some(result) => Ok(Err(Failure(first.unwrap_or(result.text)))),
            None => {
                Ok(Err(Failure(first.unwrap_or_else(|| {
                    "there is no tool to write files".to_owned()
                }))))
            }
        }
    }

    /// Makes a file that was read say `after`: by replacing the piece that differs where that can be named, else by
    /// writing it whole.
    pub(crate) fn change(
        &mut self,
        file: &str,
        before: &str,
        after: &str,
    ) -> Step<Result<(), Failure>> {
        let path = self.path(file);
        let call = edit::between(before, after).and_then(|edit| {
            if self.tools.has(Ability::Write) || self.tools.has(Ability::Edit) {
                self.tools.edit(&path, &edit.old, &edit.new)
            } else {
                self.tools.patch(&updated(&path, &edit.old, &edit.new))
            }
        });
        if let Some(call) = call
            && !self.call(call)?.failed
        {
            return Ok(Ok(()));
        }
        self.write(file, after)
    }
}

/// The reply that makes a call, with a few words first.
pub(crate) fn said(text: &str, next: Next) -> Reply {
    Reply {
        text: text.to_owned(),
        call: Some(next.0),
        ..Reply::default()
    }
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn heredoc(path: &str, content: &str) -> String {
    let mut end = "END_OF_FILE".to_owned();
    while content.lines().any(|line| line == end) {
        end.push('_');
    }
    let newline = if content.ends_with('\n') { "" } else { "\n" };
    let path = quoted(path);
    format!("mkdir -p \"$(dirname {path})\" && cat > {path} <<'{end}'\n{content}{newline}{end}")
}

fn added(path: &str, content: &str) -> String {
    let lines: String = content.lines().map(|line| format!("+{line}\n")).collect();
    format!("*** Add File: {path}\n{lines}")
}

fn updated(path: &str, old: &str, new: &str) -> String {
    let old: String = old.lines().map(|line| format!("-{line}\n")).collect();
    let new: String = new.lines().map(|line| format!("+{line}\n")).collect();
    format!("*** Update File: {path}\n@@\n{old}{new}")
}
