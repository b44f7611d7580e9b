//! What a prompt asks for.

use super::apps::App;
use super::colour::Colour;

/// What the person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A new app.
    Build(Order),
    /// Something else about the app that is there.
    Change(Vec<Change>),
    /// A prompt that tests what goes around a model.
    Probe(Probe),
    /// A change that the demo model does not know.
    Unknown,
    /// A greeting, a question.
    Talk,
}

/// An app to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) app: App,
    pub(crate) title: String,
    pub(crate) changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Colour(Target, Colour),
    Rename(String),
    Clear,
    Dark,
    Light,
    Bigger,
    Smaller,
}

/// What gets a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Title,
    Background,
    Buttons,
    Text,
}

/// What a test prompt wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    Sleep(u64),
    Slow,
    Error(u16),
    Cut,
    Run(String),
    Think,
}

/// Prompts may be megabytes; what is wanted stands at the beginning.
const LOOK: usize = 4000;
const TITLE: usize = 60;
/// Longer than any agent lets a command run.
const SLEEP_LIMIT: u64 = 3600;

impl Intent {
    pub(crate) fn of(prompt: &str, has_history: bool) -> Self {
        let prompt: String = prompt.chars().take(LOOK).collect();
        let prompt = unquoted(prompt.trim());
        if let Some(probe) = probe(prompt) {
            return Self::Probe(probe);
        }
        let request = polite(prompt);
        let app = App::named(&words(request));
        if let Some(subject) = ordered(request) {
            return Self::Build(order(request, subject, app.unwrap_or(App::Page)));
        }
        let changes = changes(request);
        if !changes.is_empty() {
            return Self::Change(changes);
        }
        match app {
            Some(app) if !has_history => Self::Build(order(request, request, app)),
            _ if talks(prompt) => Self::Talk,
            _ if has_history || follows_up(request) => Self::Unknown,
            Some(_) | None => Self::Build(order(request, request, App::Page)),
        }
    }
}

/// Some agents put what came from a command line into quotes.
fn unquoted(prompt: &str) -> &str {
    prompt
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|inner| !inner.contains('"'))
        .map_or(prompt, str::trim)
}

/// Lower-case words without punctuation.
fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '#' | '-' | '\'')))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn probe(prompt: &str) -> Option<Probe> {
    let folded = prompt.to_ascii_lowercase();
    let folded = folded.trim_end_matches(['.', '!']);
    match folded {
        "slow" => return Some(Probe::Slow),
        "cut" => return Some(Probe::Cut),
        "think" => return Some(Probe::Think),
        _ => {}
    }
    if let Some(number) = folded.strip_prefix("sleep ") {
        let digits = number.split(' ').next()?;
        return Some(Probe::Sleep(digits.parse::<u64>().ok()?.min(SLEEP_LIMIT)));
    }
    if let Some(number) = folded.strip_prefix("error") {
        return match number.trim() {
            "401" => Some(Probe::Error(401)),
            "429" => Some(Probe::Error(429)),
            "500" => Some(Probe::Error(500)),
            _ => None,
        };
    }
    folded.strip_prefix("run ")?;
    let (_, command) = prompt.split_once('`')?;
    let (command, _) = command.rsplit_once('`')?;
    Some(Probe::Run(command.to_owned())).filter(|_| !command.trim().is_empty())
}

/// Without the words of courtesy at the beginning.
fn polite(mut text: &str) -> &str {
    const COURTESIES: [&str; 8] = [
        "please ",
        "can you ",
        "could you ",
        "would you ",
        "now ",
        "hi, ",
        "hello, ",
        "ok, ",
    ];
    while let Some(courtesy) = COURTESIES
        .iter()
        .find(|courtesy| starts_with(text, courtesy))
    {
        text = text[courtesy.len()..].trim_start();
    }
    text
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(beginning))
}

/// What follows the verb when something new is wanted.
fn ordered(request: &str) -> Option<&str> {
    const VERBS: [&str; 19] = [
        "create ",
        "build ",
        "generate ",
        "develop ",
        "design ",
        "code ",
        "write ",
        "make a ",
        "make an ",
        "make me ",
        "make us ",
        "i want a ",
        "i want an ",
        "i need a ",
        "i need an ",
        "i'd like a ",
        "give me a ",
        "set up ",
        "start a ",
    ];
    let verb = VERBS.iter().find(|verb| starts_with(request, verb))?;
    Some(&request[verb.len()..])
}

fn talks(prompt: &str) -> bool {
    const TALK: [&str; 14] = [
        "hi", "hello", "hey", "who", "what", "why", "how", "help", "thanks", "thank", "are", "is",
        "do", "test",
    ];
    words(prompt)
        .first()
        .is_none_or(|word| TALK.contains(&word.as_str()))
}

fn follows_up(request: &str) -> bool {
    const VERBS: [&str; 15] = [
        "add", "change", "make", "remove", "fix", "update", "move", "use", "rename", "delete",
        "set", "turn", "put", "show", "hide",
    ];
    words(request)
        .first()
        .is_some_and(|word| VERBS.contains(&word.as_str()))
}

fn order(request: &str, subject: &str, app: App) -> Order {
    let title = called(request)
        .or_else(|| match app {
            App::Landing => after(request, " for ").map(|text| headline(&text)),
            App::Page => Some(headline(subject)),
            App::Todo | App::Counter | App::Notes => None,
        })
        .filter(|title| !title.is_empty())
        .unwrap_or_else(|| app.title().to_owned());
    let mut changes = changes(request);
    changes.retain(|change| !matches!(change, Change::Rename(_)));
    Order {
        app,
        title,
        changes,
    }
}

/// The name in "a todo app called Groceries with a blue title".
fn called(request: &str) -> Option<String> {
    [" called ", " named ", " titled "]
        .iter()
        .find_map(|word| after(request, word))
        .map(|name| {
            let quoted = name
                .strip_prefix(['"', '\'', '“'])
                .and_then(|rest| rest.split(['"', '\'', '”']).next());
            let plain = name.split([',', '.', '\n']).next().unwrap_or_default();
            let plain = plain.split(" with ").next().unwrap_or_default();
            shortened(quoted.unwrap_or(plain))
        })
}

fn after(text: &str, word: &str) -> Option<String> {
    // ASCII folding keeps byte positions.
    let at = text.to_ascii_lowercase().find(word)? + word.len();
    Some(text[at..].trim().to_owned())
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let text: String = line.chars().take(TITLE).collect();
    text.trim()
        .trim_matches(['"', '\'', '“', '”', '`'])
        .trim_end_matches(['.', '!'])
        .trim()
        .to_owned()
}

/// A subject as a title: without article and details, the first letter large.
fn headline(text: &str) -> String {
    let text = ["a ", "an ", "the ", "my ", "our ", "me a "]
        .iter()
        .find(|article| starts_with(text, article))
        .map_or(text, |article| &text[article.len()..]);
    let text = text
        .split([',', '.', '\n', ':', ';'])
        .next()
        .unwrap_or_default();
    let text = text.split(" with ").next().unwrap_or_default();
    let text = shortened(text);
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

fn changes(request: &str) -> Vec<Change> {
    if let Some(title) = renamed(request) {
        return vec![Change::Rename(title)];
    }
    let folded = request.to_lowercase();
    let clauses = folded
        .split([',', '.', ';', '\n'])
        .flat_map(|clause| clause.split(" and "))
        .flat_map(|clause| clause.split(" with "));
    let mut changes: Vec<Change> = Vec::new();
    for change in clauses.filter_map(|clause| change(&words(clause))) {
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    changes
}

/// The new title in "change the title to X".
fn renamed(request: &str) -> Option<String> {
    let folded = request.to_ascii_lowercase();
    if folded.contains("color") || folded.contains("colour") || ordered(request).is_some() {
        return None;
    }
    let titled = ["title", "heading", "headline", "name", "rename"]
        .iter()
        .find_map(|word| folded.find(word));
    let name = match titled {
        Some(at) => [" to ", " should be ", " should say "]
            .iter()
            .find_map(|word| after(&request[at..], word))?,
        None => after(request, "call it ")?,
    };
    let name = shortened(&name);
    let is_colour =
        Colour::among(&words(&name)).is_some_and(|colour| words(&name).concat() == colour.css);
    (!name.is_empty() && !is_colour).then_some(name)
}

fn change(words: &[String]) -> Option<Change> {
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    if has(&["clear", "reset", "clears"]) && has(&["button", "completed", "done", "all", "link"]) {
        return Some(Change::Clear);
    }
    if let Some(colour) = Colour::among(words) {
        let target = if has(&["background", "page", "backdrop"]) {
            Target::Background
        } else if has(&["title", "heading", "headings", "header", "headline", "h1"]) {
            Target::Title
        } else if has(&["text", "font", "letters", "words"]) {
            Target::Text
        } else if has(&["button", "buttons", "accent", "it", "everything"]) {
            Target::Buttons
        } else {
            return None;
        };
        return Some(Change::Colour(target, colour));
    }
    let look = has(&["it", "mode", "theme", "everything", "page", "app", "design"]);
    if has(&["dark", "darker"]) && look {
        return Some(Change::Dark);
    }
    if has(&["light", "lighter", "bright"]) && look {
        return Some(Change::Light);
    }
    let letters = has(&[
        "font",
        "text",
        "letters",
        "it",
        "everything",
        "type",
        "fonts",
    ]);
    if has(&["bigger", "larger", "increase", "enlarge"]) && letters {
        return Some(Change::Bigger);
    }
    if has(&["smaller", "decrease", "reduce", "shrink"]) && letters {
        return Some(Change::Smaller);
    }
    None
}

#[cfg(test)]
mod tests;
