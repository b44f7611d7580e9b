//! Sane sizes for what agents say: their output is untrusted.

/// What a tool printed.
pub(crate) const OUTPUT: usize = 64 * 1024;
/// One side of a diff.
pub(crate) const DIFF: usize = 256 * 1024;
/// One piece of text.
pub(crate) const TEXT: usize = 256 * 1024;
/// A title, a path, a line of the plan.
pub(crate) const LINE: usize = 1024;
/// A message for people about a failure.
pub(crate) const MESSAGE: usize = 4 * 1024;

/// At most `max` bytes of the text, with a note when something was cut.
pub(crate) fn clip(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let kept = &text[..text.floor_char_boundary(max)];
    format!("{kept}\n… {} more bytes", text.len() - kept.len())
}

/// One line of at most [`LINE`] bytes: line breaks become spaces.
pub(crate) fn line(text: &str) -> String {
    let kept = &text[..text.floor_char_boundary(LINE)];
    let mut flat: String = kept
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if kept.len() < text.len() {
        flat.push('…');
    }
    flat
}

/// The last `max` bytes of the text.
pub(crate) fn tail(text: &str, max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_says_how_much_is_missing() {
        assert_eq!(clip("äää", 3), "ä\n… 4 more bytes");
        assert_eq!(clip("abc", 3), "abc");
    }

    #[test]
    fn a_line_has_no_breaks() {
        assert_eq!(line("a\nb\u{1b}c"), "a b c");
        assert_eq!(line(&"ä".repeat(LINE)).chars().count(), LINE / 2 + 1);
    }

    #[test]
    fn a_tail_keeps_whole_characters() {
        assert_eq!(tail("aää", 3), "ä");
        assert_eq!(tail("a", 3), "a");
    }
}
