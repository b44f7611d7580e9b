//! What a build tells while it goes on: a line that lives for whoever watches, and one line for each step that is done.

use tokio::time::Instant;

use crate::context::Context;
use crate::render::{Spinner, plain};

/// Tells.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    context: &'a Context,
    name: &'a str,
    spinner: Spinner,
    now: Option<(String, Instant)>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(context: &'a Context, name: &'a str) -> Self {
        Self {
            context,
            name,
            spinner: Spinner::new(!context.json && context.out.is_terminal()),
            now: None,
        }
    }

    /// The one before is done, and this begins.
    pub(super) fn begin(&mut self, step: &str) {
        self.done();
        self.spinner.say(&format!("{}: {step}", self.name));
        self.now = Some((step.to_owned(), Instant::now()));
    }

    /// How far it is.
    pub(super) fn detail(&self, line: &str) {
        if let Some((step, _)) = &self.now {
            let line = plain(line);
            self.spinner.say(&format!("{}: {step}: {line}", self.name));
        }
    }

    /// The step is done.
    pub(super) fn done(&mut self) {
        let Some((step, began)) = self.now.take() else {
            return;
        };
        if !self.context.json {
            let seconds = began.elapsed().as_secs_f64();
            let line = format!("{}: {step} ({seconds:.1} s)", self.name);
            self.spinner.aside(|| self.context.out.note(line));
        }
    }
}
