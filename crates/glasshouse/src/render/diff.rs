//! A change to a file in a few lines.

use std::time::Duration;

use glass_api::DiffView;
use similar::{ChangeTag, TextDiff};

use super::{Style, plain};

/// Lines shown of one change, and characters of each.
const LINES: usize = 6;
const COLUMNS: usize = 96;
/// After this a rougher diff must do.
const TIME: Duration = Duration::from_millis(200);

/// How much a change adds and takes away, and its first lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    /// Whether the line was added, and the line.
    lines: Vec<(bool, String)>,
}

impl Change {
    pub(crate) fn of(diffs: &[DiffView]) -> Self {
        let mut change = Self::default();
        for diff in diffs {
            change.add(diff);
        }
        change
    }

    fn add(&mut self, diff: &DiffView) {
        let old = diff.old_text.as_deref().unwrap_or("");
        let text = TextDiff::configure()
            .timeout(TIME)
            .diff_lines(old, diff.new_text.as_str());
        for op in text.iter_all_changes() {
            let added = match op.tag() {
                ChangeTag::Equal => continue,
                ChangeTag::Insert => true,
                ChangeTag::Delete => false,
            };
            *(if added {
                &mut self.added
            } else {
                &mut self.removed
            }) += 1;
            let line = op.value();
            if self.lines.len() < LINES && !line.trim().is_empty() {
                let line: String = plain(line.trim_end()).chars().take(COLUMNS).collect();
                self.lines.push((added, line));
            }
        }
    }

    /// `+24 -3`, or nothing when nothing changed.
    pub(crate) fn count(&self, style: Style) -> String {
        let mut parts = Vec::new();
        if self.added > 0 {
            parts.push(style.green(&format!("+{}", self.added)));
        }
        if self.removed > 0 {
            parts.push(style.red(&format!("-{}", self.removed)));
        }
        parts.join(" ")
    }

    /// The first lines, and how many more there are.
    pub(crate) fn lines(&self, style: Style) -> Vec<String> {
        let mut shown: Vec<String> = self
            .lines
            .iter()
            .map(|(added, line)| {
                if *added {
                    style.green(&format!("    + {line}"))
                } else {
                    style.red(&format!("    - {line}"))
                }
            })
            .collect();
        let more = (self.added + self.removed).saturating_sub(self.lines.len());
        if more > 0 && !shown.is_empty() {
            shown.push(style.dim(&format!("    … {more} more")));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: Option<&str>, new: &str) -> DiffView {
        DiffView {
            path: "/home/dev/workspace/a.txt".to_owned(),
            old_text: old.map(str::to_owned),
            new_text: new.to_owned(),
        }
    }

    #[test]
    fn a_change_shows_what_changed() {
        let change = Change::of(&[diff(Some("a\nb\nc\n"), "a\nB\nc\n")]);
        assert_eq!(change.count(Style::PLAIN), "+1 -1");
        assert_eq!(change.lines(Style::PLAIN), ["    - b", "    + B"]);
    }

    #[test]
    fn a_long_new_file_is_cut() {
        let text: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let lines = Change::of(&[diff(None, &text)]).lines(Style::PLAIN);
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[LINES], "    … 34 more");
    }

    #[test]
    fn no_change_shows_nothing() {
        let change = Change::of(&[diff(Some("a"), "a")]);
        assert_eq!(change.count(Style::PLAIN), "");
        assert!(change.lines(Style::PLAIN).is_empty());
    }
}
