//! The table, for the terminal and for `docs/benchmarks.md`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use crate::figures::{Amount, Row};

const HEAD: [&str; 8] = [
    "what",
    "p50",
    "p99",
    "floor p50",
    "ratio",
    "per s",
    "floor per s",
    "n",
];
const BEGIN: &str =
    "<!-- figures: written by `cargo bench -p glasshouse --bench platform -- --write` -->\n";
const END: &str = "<!-- end of figures -->";

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) machine: Vec<(&'static str, String)>,
    pub(crate) rows: Vec<Row>,
    pub(crate) amounts: Vec<Amount>,
    /// Of a create by the runtime alone; none when that was not measured.
    pub(crate) steps: Vec<Row>,
}

impl Report {
    /// For the terminal.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (name, value) in &self.machine {
            writeln!(text, "{name}: {value}")?;
        }
        text.push('\n');
        let lines: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned))
            .chain(self.rows.iter().map(Row::cells))
            .collect();
        let widths: [usize; 8] = std::array::from_fn(|column| {
            let widths = lines.iter().map(|line| line[column].chars().count());
            widths.max().unwrap_or_default()
        });
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                if column == 0 {
                    write!(text, "{cell:<width$}")?;
                } else {
                    write!(text, "  {cell:>width$}")?;
                }
            }
            text.push('\n');
        }
        for [name, amount, floor] in self.amounts.iter().map(Amount::cells) {
            writeln!(text, "{name:<60}  {amount:>10}  {floor:>10}")?;
        }
        if !self.steps.is_empty() {
            text.push('\n');
        }
        for row in &self.steps {
            let [name, p50, p99, ..] = row.cells();
            writeln!(text, "{name:<50}  {p50:>8}  {p99:>8}")?;
        }
        Ok(text)
    }

    fn markdown(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for (name, value) in &self.machine {
            writeln!(text, "- {name}: {value}")?;
        }
        writeln!(text, "\n| {} |", HEAD.join(" | "))?;
        writeln!(text, "|---|{}", "--:|".repeat(HEAD.len() - 1))?;
        for row in &self.rows {
            writeln!(text, "| {} |", row.cells().join(" | "))?;
        }
        if !self.amounts.is_empty() {
            text.push_str("\n| memory | | floor |\n|---|--:|--:|\n");
        }
        for amount in &self.amounts {
            writeln!(text, "| {} |", amount.cells().join(" | "))?;
        }
        if !self.steps.is_empty() {
            text.push_str("\n| step of a create, runtime alone | p50 | p99 |\n|---|--:|--:|\n");
        }
        for row in &self.steps {
            writeln!(text, "| {} |", row.cells()[..3].join(" | "))?;
        }
        Ok(text)
    }

    /// Puts the figures between the marks in `docs/benchmarks.md`; the words around them are written by people.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
        let text = std::fs::read_to_string(&path)?;
        let (before, rest) = text
            .split_once(BEGIN)
            .context("docs/benchmarks.md has no mark where figures begin")?;
        let (_, after) = rest
            .split_once(END)
            .context("docs/benchmarks.md has no mark where figures end")?;
        std::fs::write(
            &path,
            format!("{before}{BEGIN}{}{END}{after}", self.markdown()?),
        )?;
        Ok(())
    }
}
