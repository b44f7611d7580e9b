//! The agent's to-do list: whole when it is new, then only what moved.

use glass_api::PlanEntry;

use crate::render::{Style, plain};

#[derive(Debug, Default)]
pub(super) struct Plan {
    entries: Vec<PlanEntry>,
}

impl Plan {
    pub(super) fn update(&mut self, entries: &[PlanEntry], style: Style) -> Vec<String> {
        let same_list = self.entries.len() == entries.len()
            && self
                .entries
                .iter()
                .zip(entries)
                .all(|(old, new)| old.content == new.content);
        let moved = entries
            .iter()
            .enumerate()
            .filter(|(place, new)| !same_list || self.entries[*place].status != new.status);
        let lines = moved.map(|(_, entry)| line(entry, style)).collect();
        self.entries = entries.to_vec();
        lines
    }
}

fn line(entry: &PlanEntry, style: Style) -> String {
    let content = plain(&entry.content).replace('\n', " ");
    match entry.status.as_str() {
        "completed" => format!("{} {}", style.green("☑"), style.dim(&content)),
        "in_progress" => format!("{} {content}", style.cyan("▸")),
        _ => format!("☐ {content}"),
    }
}
