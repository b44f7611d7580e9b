//! Makes an app.

use crate::demo::apps::{App, files};
use crate::demo::intent::Order;
use crate::demo::reply::{Outcome, Reply};
use crate::demo::run::{Failure, Run, Step, quoted};

const PLAN: [&str; 4] = [
    "Write the page (index.html)",
    "Style it (style.css)",
    "Make it work (app.js)",
    "Check the files",
];

pub(crate) fn opening(order: &Order) -> String {
    format!(
        "Demo model here: I'll make a {} from plain HTML, CSS and JavaScript.",
        order.app.noun()
    )
}

pub(crate) fn run(run: &mut Run<'_>, order: &Order) -> Step<Outcome> {
    let files = files(order);
    let parts = [
        ("index.html", &files.html),
        ("style.css", &files.css),
        ("app.js", &files.js),
    ];
    run.plan(&PLAN, 0)?;
    for (file, content) in parts {
        if let Err(Failure(reason)) = run.write(file, content)? {
            return Ok(Outcome::Reply(Reply::text(format!(
                "The demo model could not write `{file}`: {}",
                reason.trim()
            ))));
        }
    }
    run.plan(&PLAN, 3)?;
    let check = format!(
        "cd {} && ls -l index.html style.css app.js",
        quoted(run.workspace())
    );
    let listed = run.shell(&check, "List the files of the app")?;
    if let Some(result) = listed.filter(|result| result.failed) {
        return Ok(Outcome::Reply(Reply::text(format!(
            "The demo model wrote the files, but they cannot be listed: {}",
            result.text.trim()
        ))));
    }
    run.plan(&PLAN, PLAN.len())?;
    Ok(Outcome::Reply(Reply::text(done(order))))
}

fn done(order: &Order) -> String {
    let hint = match order.app {
        App::Todo => "Try: “make the title blue” or “add a clear button”.",
        App::Counter => "Try: “add a clear button” or “make the buttons orange”.",
        App::Notes => "Try: “make it dark” or “add a clear button”.",
        App::Landing => "Try: “change the title to …” or “make the buttons teal”.",
        App::Page => "Try: “create a todo app”, “create a counter”, “create a notes app”.",
    };
    format!(
        "Your {} is ready. {}\n\nThis was the **demo model**, a script that works without any key. {hint}",
        order.app.noun(),
        order.app.promise(),
    )
}
