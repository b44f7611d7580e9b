//! What the demo model does, decided from the conversation alone.

mod build;
mod follow;
mod probe;

pub(crate) use probe::spoken;

use super::conversation::Conversation;
use super::intent::Intent;
use super::reply::{Outcome, Reply};
use super::run::{Run, Step, said};
use super::side;
use super::tools::Tools;

/// What it can do, for every answer that has to say so.
pub(crate) const ABILITIES: &str = "I am the **demo model**: a script, not a real model. I can make a *todo list*, a *counter*, a *notes app* or a \
     *landing page*, and then change it: “make the title blue”, “change the title to …”, “add a clear button”, \
     “make it dark”, “make the font bigger”. For everything else, configure the key of a real model.";

/// The next message.
pub(crate) fn next(conversation: &Conversation) -> Outcome {
    let tools = Tools(&conversation.tools);
    if conversation.json.is_some() || tools.is_useless() {
        return side::next(conversation);
    }
    let (prompt, results) = conversation.last();
    let first = results.is_empty();
    let Some(mut run) = Run::new(tools, conversation.workspace(), results) else {
        return Outcome::Reply(Reply::text(
            "The demo model stops here: it has made more steps than any of its scripts has.",
        ));
    };
    let (opening, step): (String, Step<Outcome>) =
        match Intent::of(&prompt, conversation.has_history()) {
            Intent::Probe(probe) => (String::new(), probe::run(&mut run, &probe)),
            Intent::Build(order) => (build::opening(&order), build::run(&mut run, &order)),
            Intent::Change(changes) => (follow::opening(&changes), follow::run(&mut run, &changes)),
            Intent::Unknown => (
                String::new(),
                Ok(Outcome::Reply(Reply::text(format!(
                    "I do not know how to do that. {ABILITIES}"
                )))),
            ),
            Intent::Talk => (String::new(), Ok(Outcome::Reply(Reply::text(ABILITIES)))),
        };
    match step {
        Ok(outcome) => outcome,
        Err(next) => Outcome::Reply(said(if first { &opening } else { "" }, next)),
    }
}
