//! One tool call, which several events describe bit by bit.

use glass_api::{DiffView, Event, ToolStatus};

use crate::render::diff::Change;
use crate::render::{Style, plain};

/// Characters of a title and lines of a complaint that are shown.
const TITLE: usize = 80;
const COMPLAINT: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Tool {
    title: Option<String>,
    kind: Option<String>,
    status: Option<ToolStatus>,
    diffs: Vec<DiffView>,
    output: Option<String>,
}

impl Tool {
    /// Takes in an event of this call. Whether it has just ended.
    pub(super) fn update(&mut self, event: &Event) -> bool {
        let Event::Tool {
            title,
            kind,
            status,
            diffs,
            output,
            ..
        } = event
        else {
            return false;
        };
        let had_ended = self.ended();
        if let Some(title) = title {
            self.title = Some(title.clone());
        }
        if let Some(kind) = kind {
            self.kind = Some(kind.clone());
        }
        if let Some(status) = status {
            self.status = Some(*status);
        }
        if !diffs.is_empty() {
            self.diffs.clone_from(diffs);
        }
        if let Some(output) = output {
            self.output = Some(output.clone());
        }
        self.ended() && !had_ended
    }

    pub(super) fn ended(&self) -> bool {
        match self.status {
            Some(ToolStatus::Completed | ToolStatus::Failed) => true,
            Some(ToolStatus::Pending | ToolStatus::InProgress) | None => false,
        }
    }

    /// What it is called, in one line.
    pub(super) fn title(&self) -> String {
        let text = self
            .title
            .as_deref()
            .or(self.kind.as_deref())
            .unwrap_or("tool");
        let text = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() > TITLE {
            let cut: String = text.chars().take(TITLE - 1).collect();
            format!("{cut}…")
        } else {
            text
        }
    }

    pub(super) fn lines(&self, style: Style) -> Vec<String> {
        let change = Change::of(&self.diffs);
        let failed = self.status == Some(ToolStatus::Failed);
        let mark = if failed {
            style.red("✗")
        } else {
            style.green("✓")
        };
        let line = format!("{mark} {}  {}", self.title(), change.count(style));
        let mut lines = vec![line.trim_end().to_owned()];
        if failed {
            lines.extend(self.complaint(style));
        } else {
            lines.extend(change.lines(style));
        }
        lines
    }

    /// The end of what a failed call printed: that is where the reason stands.
    fn complaint(&self, style: Style) -> Vec<String> {
        let text = plain(self.output.as_deref().unwrap_or(""));
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let skipped = lines.len().saturating_sub(COMPLAINT);
        lines[skipped..]
            .iter()
            .map(|line| {
                let line: String = line.trim_end().chars().take(TITLE * 2).collect();
                style.dim(&format!("    {line}"))
            })
            .collect()
    }
}
