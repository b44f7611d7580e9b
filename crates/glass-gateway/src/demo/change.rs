//! Changes to an app that is there, as functions from text to text.

use super::edit::{property, set_property};
use super::intent::{Change, Target};
use super::markup::{app_of, insert_after, set_text};

/// The sheet after a change; the same sheet when the change is none of style.
pub(crate) fn css(css: &str, change: &Change) -> String {
    match change {
        Change::Colour(Target::Title, colour) => set_property(css, "h1", "color", &colour.css),
        Change::Colour(Target::Text, colour) => set_property(css, "body", "color", &colour.css),
        Change::Colour(Target::Background, colour) => {
            set_property(css, "body", "background", &colour.css)
        }
        Change::Colour(Target::Buttons, colour) if css.contains("var(--accent)") => {
            let css = set_property(css, ":root", "--accent", &colour.css);
            set_property(&css, ":root", "--on-accent", colour.text_on())
        }
        Change::Colour(Target::Buttons, colour) => {
            let css = set_property(css, "button", "background", &colour.css);
            set_property(&css, "button", "color", colour.text_on())
        }
        Change::Dark => scheme(css, "dark"),
        Change::Light => scheme(css, "light"),
        Change::Bigger => scaled(css, 5, 4),
        Change::Smaller => scaled(css, 4, 5),
        Change::Rename(_) | Change::Clear => css.to_owned(),
    }
}

/// Our sheets follow `color-scheme`; in others the page gets its colours directly.
fn scheme(css: &str, scheme: &str) -> String {
    let changed = set_property(css, ":root", "color-scheme", scheme);
    if css.contains("light-dark(") {
        return changed;
    }
    let (background, text) = if scheme == "dark" {
        ("#14161a", "#eceef2")
    } else {
        ("#ffffff", "#1b1d22")
    };
    let changed = set_property(&changed, "body", "background", background);
    set_property(&changed, "body", "color", text)
}

/// Our sheets measure in `rem`, so that the size at the root scales everything.
fn scaled(css: &str, times: u32, by: u32) -> String {
    let percent = property(css, ":root", "font-size")
        .and_then(|value| value.strip_suffix('%')?.parse::<u32>().ok())
        .unwrap_or(100)
        .clamp(20, 500);
    let size = format!("{}%", percent * times / by);
    set_property(css, ":root", "font-size", &size)
}

/// The page with another title.
pub(crate) fn renamed(html: &str, title: &str) -> Option<String> {
    let headed = set_text(html, "h1", title);
    let html = headed.as_deref().unwrap_or(html);
    set_text(html, "title", title).or(headed)
}

/// Page and program with a button that clears: finished tasks, the number, the notes. `None` for other pages.
pub(crate) fn clear(html: &str, js: &str) -> Option<(String, String)> {
    let (label, marker, action): (_, _, &[&str]) = match app_of(html)? {
        "todo" => (
            "Clear completed",
            "id=\"count\"",
            &[
                "  todos = todos.filter((todo) => !todo.done);",
                "  save();",
                "  render();",
            ],
        ),
        "counter" => ("Clear", "id=\"increase\"", &["  set(0);"]),
        "notes" => (
            "Clear all",
            "id=\"new\"",
            &[
                "  if (notes.length > 0 && !confirm('Delete all notes?')) return;",
                "  notes = [];",
                "  save();",
                "  startNew();",
                "  render();",
            ],
        ),
        _ => return None,
    };
    if html.contains("id=\"clear\"") {
        return None;
    }
    let button = format!("<button type=\"button\" id=\"clear\" class=\"quiet\">{label}</button>");
    let html = insert_after(html, marker, &[&button])?;
    let mut js = js.trim_end().to_owned();
    js.push_str("\n\ndocument.querySelector('#clear').addEventListener('click', () => {\n");
    for line in action {
        js.push_str(line);
        js.push('\n');
    }
    js.push_str("});\n");
    Some((html, js))
}

/// The page with a rule of its own, for pages without a style sheet.
pub(crate) fn inline(html: &str, change: &Change) -> Option<String> {
    let rules = css("", change);
    let (head, rest) = html.split_once("</head>")?;
    (!rules.is_empty()).then(|| format!("{head}<style>\n{rules}</style>\n</head>{rest}"))
}

/// The change as people say it, after "I".
pub(crate) fn described(change: &Change) -> String {
    match change {
        Change::Colour(target, colour) => {
            let target = match target {
                Target::Title => "title",
                Target::Background => "background",
                Target::Buttons => "accent colour",
                Target::Text => "text",
            };
            format!("made the {target} {}", colour.css)
        }
        Change::Rename(title) => format!("changed the title to “{title}”"),
        Change::Clear => "added a clear button".to_owned(),
        Change::Dark => "made it dark".to_owned(),
        Change::Light => "made it light".to_owned(),
        Change::Bigger => "made the font bigger".to_owned(),
        Change::Smaller => "made the font smaller".to_owned(),
    }
}
