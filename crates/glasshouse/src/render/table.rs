//! Columns.

use super::Style;

/// Rows of text under headings.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, each column as wide as its widest cell.
    pub(crate) fn lines(&self, style: Style) -> Vec<String> {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let lines = self.rows.iter().enumerate().map(|(number, row)| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell:width$}"))
                .collect();
            let line = cells.join("  ");
            if number == 0 {
                style.dim(line.trim_end())
            } else {
                line.trim_end().to_owned()
            }
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_blanks() {
        let mut table = Table::new(&["ID", "STATE"]);
        table.row(vec!["abcdef".to_owned(), "up".to_owned()]);
        assert_eq!(table.lines(Style::PLAIN), ["ID      STATE", "abcdef  up"]);
    }
}
