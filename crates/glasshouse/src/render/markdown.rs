//! The agent's Markdown as it comes, a line at a time: wrapped and lightly coloured in a terminal, as it is in a pipe.

use super::{Style, plain};

/// A line without end is cut here, terminal or not.
const LINE_LIMIT: usize = 16 << 10;

/// Takes pieces of Markdown and gives finished lines.
#[derive(Debug)]
pub(crate) struct Markdown {
    style: Style,
    width: Option<usize>,
    line: String,
    /// Columns that the continuation of a list item is indented by.
    indent: usize,
    /// Whether the line at hand is the continuation of a wrapped one.
    continued: bool,
    fenced: bool,
}

impl Markdown {
    pub(crate) fn new(style: Style, width: Option<usize>) -> Self {
        Self {
            style,
            width,
            line: String::new(),
            indent: 0,
            continued: false,
            fenced: false,
        }
    }

    /// The lines that this piece finishes.
    pub(crate) fn push(&mut self, delta: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for c in plain(delta).chars() {
            if c == '\n' {
                lines.push(self.end_line());
            } else {
                self.line.push(c);
                if self.line.len() > LINE_LIMIT {
                    lines.push(self.end_line());
                }
            }
        }
        // Only now: of a piece that ends its line we know the whole line.
        lines.extend(self.wrap());
        let width = self.width;
        if width.is_some() && lines.iter().any(String::is_empty) {
            lines.dedup_by(|next, line| next.is_empty() && line.is_empty());
        }
        lines
    }

    /// What is left at the end of the text.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let lines = if self.line.trim().is_empty() {
            Vec::new()
        } else {
            let mut lines = self.wrap();
            lines.push(self.end_line());
            lines
        };
        self.line.clear();
        self.fenced = false;
        self.continued = false;
        lines
    }

    /// The line that is still growing.
    pub(crate) fn partial(&self) -> &str {
        self.line.trim()
    }

    fn wrap(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(width) = self.width else {
            return lines;
        };
        while !self.fenced && !self.line.starts_with("```") && !self.line.starts_with('|') {
            if !self.continued {
                self.indent = hanging(&self.line);
            }
            let Some((past, _)) = self.line.char_indices().nth(width) else {
                break;
            };
            // Not within the indentation: a word that long stays whole.
            let Some(at) = self.line[..past]
                .rfind(' ')
                .filter(|&at| at > self.indent && !self.line[..at].trim().is_empty())
            else {
                break;
            };
            let rest = format!(
                "{}{}",
                " ".repeat(self.indent),
                self.line[at..].trim_start()
            );
            let head = std::mem::replace(&mut self.line, rest);
            lines.push(self.styled(head[..at].trim_end()));
            self.continued = true;
        }
        lines
    }

    fn end_line(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        let styled = if line.trim_start().starts_with("```") {
            self.fenced = !self.fenced;
            self.style.dim(line)
        } else {
            self.styled(line)
        };
        self.continued = false;
        styled
    }

    fn styled(&self, line: &str) -> String {
        if self.fenced {
            return self.style.cyan(line);
        }
        if !self.style.is_on() {
            return line.to_owned();
        }
        match line.trim_start_matches('#') {
            title if title.len() < line.len() && title.starts_with(' ') => self.style.bold(line),
            _ => self.inline(line),
        }
    }

    /// `code` and **strong**, where they begin and end on the same line.
    fn inline(&self, line: &str) -> String {
        let mut styled = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['`', '*']) {
            let (before, marked) = rest.split_at(at);
            styled.push_str(before);
            let mark = if marked.starts_with("**") {
                "**"
            } else {
                &marked[..1]
            };
            let inner = &marked[mark.len()..];
            match inner.find(mark) {
                Some(end) if end > 0 && mark != "*" => {
                    let text = &inner[..end];
                    styled.push_str(&if mark == "`" {
                        self.style.cyan(text)
                    } else {
                        self.style.bold(text)
                    });
                    rest = &inner[end + mark.len()..];
                }
                _ => {
                    styled.push_str(mark);
                    rest = inner;
                }
            }
        }
        styled.push_str(rest);
        styled
    }
}

/// Where the text of a list item begins, so that its next lines begin there too.
fn hanging(line: &str) -> usize {
    let blanks = line.len() - line.trim_start().len();
    let text = line.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let marker = if text.starts_with("- ") || text.starts_with("* ") {
        2
    } else if (1..4).contains(&digits) && text[digits..].starts_with(". ") {
        digits + 2
    } else {
        0
    };
    (blanks + marker).min(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(width: Option<usize>, style: Style, text: &str) -> Vec<String> {
        let mut markdown = Markdown::new(style, width);
        let mut lines = Vec::new();
        for c in text.chars() {
            lines.extend(markdown.push(&c.to_string()));
        }
        lines.extend(markdown.end());
        lines
    }

    #[test]
    fn words_wrap_and_list_items_hang() {
        assert_eq!(
            all(
                Some(12),
                Style::PLAIN,
                "one two three four\n- five six seven\n"
            ),
            ["one two", "three four", "- five six", "  seven"]
        );
    }

    #[test]
    fn a_long_word_stays_whole() {
        let url = "http://3000-abc.preview.localhost:8080/";
        assert_eq!(
            all(Some(12), Style::PLAIN, &format!("see {url}")),
            ["see", url]
        );
    }

    #[test]
    fn code_is_not_wrapped() {
        let code = "```js\nlet a = 1; let b = 2; let c = 3;\n```";
        assert_eq!(
            all(Some(12), Style::PLAIN, code),
            ["```js", "let a = 1; let b = 2; let c = 3;", "```"]
        );
    }

    #[test]
    fn a_pipe_gets_the_text_as_it_is() {
        let text = "# Title\n\nsome `code` and **more** words that would be too long\n";
        assert_eq!(all(None, Style::PLAIN, text).join("\n") + "\n", text);
    }

    #[test]
    fn marks_become_colours() {
        assert_eq!(
            all(Some(80), Style::COLOURED, "a `b` **c** d*e ``"),
            ["a \x1b[36mb\x1b[0m \x1b[1mc\x1b[0m d*e ``"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let lines = all(None, Style::PLAIN, &"x".repeat(LINE_LIMIT * 2));
        assert!(lines.len() >= 2);
    }
}
