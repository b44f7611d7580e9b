//! Changes to the text of pages.

/// Text for HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The page with `text` in the first element named `tag`, which keeps its attributes.
pub(crate) fn set_text(html: &str, tag: &str, text: &str) -> Option<String> {
    let start = element(html, tag)?;
    let inner = start + html[start..].find('>')? + 1;
    let end = inner + html[inner..].find(&format!("</{tag}>"))?;
    Some(format!(
        "{}{}{}",
        &html[..inner],
        escaped(text),
        &html[end..]
    ))
}

/// Where the first element named `tag` begins.
fn element(html: &str, tag: &str) -> Option<usize> {
    let open = format!("<{tag}");
    html.match_indices(&open)
        .map(|(start, _)| start)
        .find(|start| {
            html[start + open.len()..].starts_with(|letter: char| !letter.is_ascii_alphanumeric())
        })
}

/// The text with `lines` after the line that holds `marker`, indented like that line.
pub(crate) fn insert_after(text: &str, marker: &str, lines: &[&str]) -> Option<String> {
    let at = text.find(marker)?;
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let indent: String = text[start..]
        .chars()
        .take_while(|letter| *letter == ' ' || *letter == '\t')
        .collect();
    let lines: String = lines
        .iter()
        .map(|line| format!("\n{indent}{line}"))
        .collect();
    Some(format!("{}{lines}{}", &text[..end], &text[end..]))
}

/// Which of our apps a page is: `todo` in `<meta name="generator" content="demo model: todo">`.
pub(crate) fn app_of(html: &str) -> Option<&str> {
    let (_, after) = html.split_once("content=\"demo model: ")?;
    after.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_element_changes_and_its_attributes_stay() {
        let html = "<header><h1 class=\"a\">Old</h1></header>";
        assert_eq!(
            set_text(html, "h1", "A & B").unwrap(),
            "<header><h1 class=\"a\">A &amp; B</h1></header>"
        );
        assert_eq!(set_text(html, "h2", "x"), None);
        assert_eq!(set_text("<h1", "h1", "x"), None);
    }

    #[test]
    fn lines_are_added_with_the_indentation_of_their_neighbour() {
        assert_eq!(
            insert_after("<p>\n  <i id=\"a\">\n</p>", "id=\"a\"", &["<b>"]).unwrap(),
            "<p>\n  <i id=\"a\">\n  <b>\n</p>"
        );
        assert_eq!(insert_after("é id", "id", &["x"]).unwrap(), "é id\nx");
        assert_eq!(insert_after("a", "id", &["x"]), None);
    }
}
