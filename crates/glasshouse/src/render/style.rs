//! Colours, where somebody sees them, and nothing but text where somebody wrote it.

use std::io::IsTerminal;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { on: false };
    #[cfg(test)]
    pub(crate) const COLOURED: Self = Self { on: true };

    /// Colours on a terminal, unless `NO_COLOR` is set or the terminal is a dumb one.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            on: stream.is_terminal() && !refused && !dumb,
        }
    }

    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.wrap("36", text)
    }

    /// A URL that can be clicked.
    pub(crate) fn link(self, text: &str) -> String {
        self.wrap("4;36", text)
    }
}

/// Text that agents or apps wrote, without anything that could drive the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|&c| c == '\n' || !is_control(c))
        .collect()
}

/// A line of a log: colours stay when `colours` says so, every other control sequence goes.
pub(crate) fn printable(line: &str, colours: bool) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('\x1b') {
        shown.extend(
            rest[..start]
                .chars()
                .filter(|&c| c == '\t' || !is_control(c)),
        );
        let (sequence, after) = escape(&rest[start..]);
        if colours && sequence.starts_with("\x1b[") && sequence.ends_with('m') {
            shown.push_str(sequence);
        }
        rest = after;
    }
    shown.extend(rest.chars().filter(|&c| c == '\t' || !is_control(c)));
    shown
}

/// Splits what begins with an escape character into that sequence and the rest.
fn escape(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let end = match bytes.get(1) {
        // CSI: parameters, then one final byte.
        Some(b'[') => bytes[2..]
            .iter()
            .position(|b| (0x40..=0x7e).contains(b))
            .map_or(text.len(), |at| at + 3),
        // OSC: to the bell or the string terminator.
        Some(b']') => match (text.find('\x07'), text.find("\x1b\\")) {
            (Some(bell), Some(end)) => (bell + 1).min(end + 2),
            (Some(bell), None) => bell + 1,
            (None, Some(end)) => end + 2,
            (None, None) => text.len(),
        },
        // Any other: intermediate bytes, then one final byte, which is never part of a longer character.
        Some(_) => {
            let is_final = |b: &u8| !(0x20..=0x2f).contains(b);
            let end = 1 + bytes[1..].iter().take_while(|b| !is_final(b)).count();
            end + usize::from(bytes.get(end).is_some_and(u8::is_ascii))
        }
        None => 1,
    };
    text.split_at(end)
}

/// Control characters, and the marks that reorder or hide text.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_writes_cannot_drive_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\x07\r\n\tc\u{202e}"), "a[2Jb\n c");
    }

    #[test]
    fn a_log_keeps_its_colours_only() {
        let line = "\x1b[31mred\x1b[0m \x1b[2Jgone \x1b]0;title\x07x\x1b(By";
        assert_eq!(printable(line, true), "\x1b[31mred\x1b[0m gone xy");
        assert_eq!(printable(line, false), "red gone xy");
    }

    #[test]
    fn a_cut_sequence_is_dropped() {
        for line in ["a\x1b", "a\x1b[", "a\x1b[31", "a\x1b]0;x"] {
            assert_eq!(printable(line, true), "a", "{line:?}");
        }
        for line in ["a\x1bä", "a\x1b(ä"] {
            assert_eq!(printable(line, true), "aä", "{line:?}");
        }
    }

    #[test]
    fn without_colours_text_is_itself() {
        assert_eq!(Style::PLAIN.bold("x"), "x");
        assert_eq!(Style::COLOURED.bold("x"), "\x1b[1mx\x1b[0m");
        assert_eq!(Style::COLOURED.bold(""), "");
    }
}
