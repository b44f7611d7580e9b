//! The text of a file out of what a read tool shows of it.

/// Without line numbers, without what agents put around. Text that carries no line numbers stays as it is.
pub(crate) fn text(shown: &str) -> String {
    let mut lines = Vec::new();
    for line in shown.lines() {
        if let Some(content) = numbered(line, lines.len() + 1) {
            lines.push(content);
        }
    }
    if lines.is_empty() {
        return shown.to_owned();
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// The content of a line that is shown with the number `wanted`: `     3→x`, `3\tx`, `00003| x`, `3: x`.
fn numbered(line: &str, wanted: usize) -> Option<&str> {
    let line = line.strip_prefix("<content>").unwrap_or(line);
    let line = line.trim_start_matches(' ');
    let digits = line
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(line.len());
    if line[..digits].parse() != Ok(wanted) {
        return None;
    }
    let rest = &line[digits..];
    ["→", "\t", "| ", ": "]
        .iter()
        .find_map(|separator| rest.strip_prefix(separator))
        // Agents drop the space at the end of an empty line.
        .or_else(|| matches!(rest, "|" | ":").then_some(""))
}

/// What a command printed, without the heading that some agents put before it.
pub(crate) fn output(shown: &str) -> String {
    match shown.split_once("\nOutput:\n") {
        Some((heading, output)) if heading.lines().count() < 12 => output.to_owned(),
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_numbers_go_and_the_text_stays() {
        assert_eq!(text("     1→a\n     2→  b\n     3→\n"), "a\n  b\n\n");
        assert_eq!(
            text("1\ta\n2\t1: b\n\n<system-reminder>x</system-reminder>"),
            "a\n1: b\n"
        );
        assert_eq!(
            text(
                "<path>/w</path>\n<content>\n1: a\n2: b\n\n(End of file - total 2 lines)\n</content>"
            ),
            "a\nb\n"
        );
        assert_eq!(
            text("<file>\n00001| a\n00002| \n00003|\n</file>"),
            "a\n\n\n"
        );
        assert_eq!(text("<content>1: a\n2: b"), "a\nb\n");
        assert_eq!(text("h1 {\n  color: red;\n}\n"), "h1 {\n  color: red;\n}\n");
    }

    #[test]
    fn the_heading_before_an_output_goes() {
        assert_eq!(
            output("Chunk ID: 1\nProcess exited with code 0\nOutput:\na\n"),
            "a\n"
        );
        assert_eq!(output("a\n"), "a\n");
    }
}
