//! Changes an app that is there: reads, changes what it read, answers.

use super::ABILITIES;
use crate::demo::change;
use crate::demo::intent::Change;
use crate::demo::reply::{Outcome, Reply};
use crate::demo::run::{Failure, Run, Step};

const PAGE: &str = "index.html";
const SHEET: &str = "style.css";
const PROGRAM: &str = "app.js";

pub(crate) fn opening(changes: &[Change]) -> String {
    let file = if changes.iter().any(is_style) {
        SHEET
    } else {
        PAGE
    };
    format!("Demo model here: I'll look at `{file}` first.")
}

pub(crate) fn run(run: &mut Run<'_>, changes: &[Change]) -> Step<Outcome> {
    let mut done = Vec::new();
    let styles: Vec<&Change> = changes.iter().filter(|change| is_style(change)).collect();
    if !styles.is_empty()
        && let Err(failure) = restyle(run, &styles, &mut done)?
    {
        return Ok(sorry(&failure));
    }
    for change in changes.iter().filter(|change| !is_style(change)) {
        if let Err(failure) = rework(run, change, &mut done)? {
            return Ok(sorry(&failure));
        }
    }
    if done.is_empty() {
        return Ok(Outcome::Reply(Reply::text(
            "There was nothing to change: the app is like that already. (The demo model says so, after reading its files.)",
        )));
    }
    Ok(Outcome::Reply(Reply::text(format!(
        "Done: I {}. The preview shows it.\n\nThis was the **demo model**.",
        done.join(" and ")
    ))))
}

fn is_style(change: &Change) -> bool {
    match change {
        Change::Colour(..) | Change::Dark | Change::Light | Change::Bigger | Change::Smaller => {
            true
        }
        Change::Rename(_) | Change::Clear => false,
    }
}

fn restyle(
    run: &mut Run<'_>,
    changes: &[&Change],
    done: &mut Vec<String>,
) -> Step<Result<(), Failure>> {
    let (file, before, apply): (_, _, fn(&str, &Change) -> Option<String>) =
        match run.read(SHEET)? {
            Ok(css) => (SHEET, css, |css, change| Some(change::css(css, change))),
            Err(_) => match run.read(PAGE)? {
                Ok(html) => (PAGE, html, change::inline),
                Err(failure) => return Ok(Err(failure)),
            },
        };
    let mut after = before.clone();
    for wanted in changes {
        let Some(changed) = apply(&after, wanted) else {
            return Ok(Err(Failure(format!("`{file}` has no head to style"))));
        };
        if changed != after {
            done.push(change::described(wanted));
        }
        after = changed;
    }
    if after == before {
        return Ok(Ok(()));
    }
    run.change(file, &before, &after)
}

fn rework(run: &mut Run<'_>, wanted: &Change, done: &mut Vec<String>) -> Step<Result<(), Failure>> {
    let html = match run.read(PAGE)? {
        Ok(html) => html,
        Err(failure) => return Ok(Err(failure)),
    };
    let (page, program) = match wanted {
        Change::Rename(title) => match change::renamed(&html, title) {
            Some(page) => (page, None),
            None => return Ok(Err(Failure(format!("`{PAGE}` has no title")))),
        },
        Change::Clear if html.contains("id=\"clear\"") => return Ok(Ok(())),
        Change::Clear
        | Change::Colour(..)
        | Change::Dark
        | Change::Light
        | Change::Bigger
        | Change::Smaller => {
            let js = match run.read(PROGRAM)? {
                Ok(js) => js,
                Err(failure) => return Ok(Err(failure)),
            };
            match change::clear(&html, &js) {
                Some((page, program)) => (page, Some((js, program))),
                None => {
                    let reason = "I can add a clear button only to the todo list, the counter and the notes that I made";
                    return Ok(Err(Failure(reason.into())));
                }
            }
        }
    };
    if page != html {
        // The button comes first: a program that looks for a button which is not there would break the page.
        if let Err(failure) = run.change(PAGE, &html, &page)? {
            return Ok(Err(failure));
        }
        done.push(change::described(wanted));
    }
    match program {
        Some((before, after)) => run.change(PROGRAM, &before, &after),
        None => Ok(Ok(())),
    }
}

fn sorry(failure: &Failure) -> Outcome {
    let reason: String = failure.0.trim().chars().take(500).collect();
    Outcome::Reply(Reply::text(format!(
        "I could not do that: {reason}.\n\n{ABILITIES}"
    )))
}
