//! The apps that the demo model makes.

use super::change;
use super::intent::{Change, Order};
use super::markup::escaped;

/// A kind of app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum App {
    Todo,
    Counter,
    Notes,
    Landing,
    /// A page about what was asked, which says what the demo model can do.
    Page,
}

/// The files of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) html: String,
    pub(crate) css: String,
    pub(crate) js: String,
}

macro_rules! files {
    ($name:literal) => {
        (
            include_str!(concat!("apps/", $name, "/index.html")),
            include_str!(concat!("apps/", $name, "/style.css")),
            include_str!(concat!("apps/", $name, "/app.js")),
        )
    };
}

impl App {
    /// The kind that these words name.
    pub(crate) fn named(words: &[String]) -> Option<Self> {
        let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
        let pair = |first: &str, second: &str| {
            words
                .windows(2)
                .any(|pair| pair[0] == first && pair[1] == second)
        };
        if has(&[
            "todo",
            "todos",
            "to-do",
            "to-dos",
            "task",
            "tasks",
            "checklist",
        ]) || pair("to", "do")
            || pair("shopping", "list")
        {
            Some(Self::Todo)
        } else if has(&["counter", "clicker", "tally"]) {
            Some(Self::Counter)
        } else if has(&[
            "note", "notes", "notebook", "journal", "diary", "memo", "memos",
        ]) {
            Some(Self::Notes)
        } else if has(&["landing", "homepage", "website", "portfolio", "marketing"])
            || pair("home", "page")
            || pair("web", "site")
        {
            Some(Self::Landing)
        } else {
            None
        }
    }

    /// As in "your … is ready".
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Todo => "todo list",
            Self::Counter => "counter",
            Self::Notes => "notes app",
            Self::Landing => "landing page",
            Self::Page => "page",
        }
    }

    /// What it can do, as a sentence.
    pub(crate) fn promise(self) -> &'static str {
        match self {
            Self::Todo => {
                "Add tasks, tick them off, filter and delete them; they are kept in the browser."
            }
            Self::Counter => {
                "Count up and down with the buttons or the arrow keys; the number is kept in the browser."
            }
            Self::Notes => "Write, edit, search and delete notes; they are kept in the browser.",
            Self::Landing => "It has a hero, features, questions and answers, and a contact form.",
            Self::Page => {
                "A real model would build what you asked for; as a demo I made a page about it that shows what I can do."
            }
        }
    }

    /// The title when the prompt gives none.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Todo => "Todo list",
            Self::Counter => "Counter",
            Self::Notes => "Notes",
            Self::Landing => "Northlight",
            Self::Page => "Hello",
        }
    }
}

/// The files for an order, changes included.
pub(crate) fn files(order: &Order) -> Files {
    let (html, css, js) = match order.app {
        App::Todo => files!("todo"),
        App::Counter => files!("counter"),
        App::Notes => files!("notes"),
        App::Landing => files!("landing"),
        App::Page => files!("page"),
    };
    let mut files = Files {
        html: html.replace("{{title}}", &escaped(&order.title)),
        css: css.to_owned(),
        js: js.to_owned(),
    };
    for wanted in &order.changes {
        files.css = change::css(&files.css, wanted);
        if *wanted == Change::Clear
            && let Some((html, js)) = change::clear(&files.html, &files.js)
        {
            files.html = html;
            files.js = js;
        }
    }
    files
}
