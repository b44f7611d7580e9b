//! Changes to style sheets and pages, as the smallest piece of text to replace.

/// Replace `old`, which stands in the file, by `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// The smallest run of whole lines that differs, with as many lines around as make it unique. `None` when nothing
/// differs or no such run is there.
pub(crate) fn between(before: &str, after: &str) -> Option<Edit> {
    if before == after {
        return None;
    }
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let same_head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_head;
    let same_tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let (mut head, mut tail) = (same_head, same_tail);
    loop {
        let piece = old[head..old.len() - tail].concat();
        // Agents may trim what they look for.
        let core = piece.trim();
        if !core.is_empty() && before.matches(core).count() == 1 {
            let new = new[head..new.len() - tail].concat();
            return Some(unended(&piece, &new));
        }
        if head == 0 && tail == 0 {
            return None;
        }
        head = head.saturating_sub(1);
        tail = tail.saturating_sub(1);
    }
}

/// Without the line end that both have: what tools show of a file does not tell whether it ends with one.
fn unended(old: &str, new: &str) -> Edit {
    let (old, new) = match (old.strip_suffix('\n'), new.strip_suffix('\n')) {
        (Some(old), Some(new)) if !old.is_empty() => (old, new),
        _ => (old, new),
    };
    Edit {
        old: old.to_owned(),
        new: new.to_owned(),
    }
}

/// The sheet with a property set in the first rule for `selector`, or in a new rule at the end.
pub(crate) fn set_property(css: &str, selector: &str, property: &str, value: &str) -> String {
    let rules = rules(css);
    let changed = format!("{property}: {value};");
    let Some(rule) = rules
        .iter()
        .find(|rule| rule.selectors().any(|name| name == selector))
    else {
        let gap = if css.trim().is_empty() { "" } else { "\n\n" };
        return format!("{}{gap}{selector} {{\n  {changed}\n}}\n", css.trim_end());
    };
    let declared = rule.text.lines().find(|line| {
        line.trim()
            .strip_prefix(property)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    });
    let new = match declared {
        Some(line) => rule.text.replacen(line.trim(), &changed, 1),
        None => {
            let body = rule.text.trim_end_matches('}').trim_end();
            format!("{body}\n  {changed}\n}}")
        }
    };
    css.replacen(rule.text, &new, 1)
}

/// The value of a property in the first rule for `selector`.
pub(crate) fn property<'c>(css: &'c str, selector: &str, property: &str) -> Option<&'c str> {
    let rules = rules(css);
    let rule = rules
        .iter()
        .find(|rule| rule.selectors().any(|name| name == selector))?;
    rule.text.lines().find_map(|line| {
        let value = line.trim().strip_prefix(property)?.trim_start();
        Some(value.strip_prefix(':')?.trim().trim_end_matches(';'))
    })
}

/// `selector { … }` at the top level of a sheet.
#[derive(Debug)]
struct Rule<'c> {
    text: &'c str,
}

impl<'c> Rule<'c> {
    fn selectors(&self) -> impl Iterator<Item = &'c str> {
        let heading = self.text.split('{').next().unwrap_or_default();
        heading.split(',').map(str::trim)
    }
}

/// The plain rules of a sheet; `@media` and comments are passed over.
fn rules(css: &str) -> Vec<Rule<'_>> {
    let mut rules = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let mut position = 0;
    while position < css.len() {
        let rest = &css[position..];
        if let Some(comment) = rest.strip_prefix("/*") {
            let length = comment.find("*/").map_or(rest.len(), |end| end + 4);
            position += length;
            if depth == 0 {
                start = position;
            }
            continue;
        }
        let letter = rest.chars().next().map_or(1, char::len_utf8);
        match rest.as_bytes().first() {
            Some(b'{') => depth += 1,
            Some(b';') if depth == 0 => start = position + 1,
            Some(b'}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let text = css[start..=position].trim_start();
                    if !text.starts_with('@') {
                        rules.push(Rule { text });
                    }
                    start = position + 1;
                }
            }
            _ => {}
        }
        position += letter;
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSS: &str = "/* h1 { } */\n:root {\n  color-scheme: light dark;\n}\n\nh1,\nh2 {\n  color: red;\n}\n\n@media print {\n  p { color: black; }\n}\n";

    #[test]
    fn a_declared_property_changes_in_place() {
        let changed = set_property(CSS, "h1", "color", "blue");
        assert_eq!(property(&changed, "h1", "color"), Some("blue"));
        assert_eq!(set_property(CSS, "h1", "color", "red"), CSS);
        let edit = between(CSS, &changed).unwrap();
        assert_eq!(edit.old, "  color: red;");
        assert_eq!(edit.new, "  color: blue;");
    }

    #[test]
    fn a_missing_property_or_rule_is_added() {
        let changed = set_property(CSS, ":root", "font-size", "120%");
        assert!(changed.contains(":root {\n  color-scheme: light dark;\n  font-size: 120%;\n}"));
        let changed = set_property(CSS, "body", "background", "red");
        assert!(changed.ends_with("\n\nbody {\n  background: red;\n}\n"));
    }

    #[test]
    fn the_piece_that_differs_is_unique() {
        let check = |before: &str, after: &str| {
            let edit = between(before, after).unwrap();
            assert_eq!(before.matches(&edit.old).count(), 1, "{before:?}");
            assert_eq!(before.replacen(&edit.old, &edit.new, 1), after);
        };
        check("a\nb\na\nb\n", "a\nb\na\nc\n");
        check("a\na\na\n", "a\nx\na\na\n");
        check("a\n", "a\nb\n");
        check("a", "a\nb\n");
        check("a\nb\n", "b\n");
        assert_eq!(between("a\n", "a\n"), None);
        assert_eq!(between("", "a\n"), None);
    }

    #[test]
    fn broken_sheets_do_no_harm() {
        for css in [
            "",
            "}}}",
            "{{{",
            "/*",
            "h1 {",
            "@import x;",
            "é{}",
            "/* é */ h1{}",
            "a;é{}",
        ] {
            assert!(
                set_property(css, "h1", "color", "red").contains("color: red;"),
                "{css}"
            );
        }
    }
}
