//! The steps of long work on images: a bar for the one at work, a line for each that is done.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use glass_image::{Event, Progress};
use indicatif::ProgressBar;

use super::Style;
use super::progress::{byte_bar, step_bar};

#[derive(Debug)]
pub(crate) struct Steps {
    /// Nothing is told, because the output is for a program.
    silent: bool,
    lively: bool,
    style: Style,
    stderr: io::Stderr,
    bar: Mutex<Option<ProgressBar>>,
}

impl Steps {
    pub(crate) fn new(silent: bool) -> Self {
        let stderr = io::stderr();
        Self {
            silent,
            lively: stderr.is_terminal(),
            style: Style::of(&stderr),
            stderr,
            bar: Mutex::new(None),
        }
    }

    fn line(&self, text: &str) {
        // Nobody to tell is no reason to fail.
        let _ = writeln!(self.stderr.lock(), "{text}");
    }

    fn start(&self, step: &str, total: Option<u64>) {
        if !self.lively {
            self.line(&format!("· {step}"));
            return;
        }
        let bar = match total {
            Some(total) => byte_bar(Some(total), step),
            None => step_bar(step),
        };
        bar.enable_steady_tick(Duration::from_millis(100));
        self.set(Some(bar));
    }

    fn finish(&self, step: &str, cached: bool) {
        self.set(None);
        let note = if cached {
            self.style.dim(" (up to date)")
        } else {
            String::new()
        };
        self.line(&format!("{} {step}{note}", self.style.green("✓")));
    }

    /// The bar of the step at hand, or none. The one before goes.
    fn set(&self, bar: Option<ProgressBar>) {
        let mut current = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *current, bar) {
            before.finish_and_clear();
        }
    }

    fn with_bar(&self, change: impl FnOnce(&ProgressBar)) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &*bar {
            change(bar);
        }
    }
}

impl Progress for Steps {
    fn event(&self, event: Event<'_>) {
        if self.silent {
            return;
        }
        match event {
            Event::Started { step, total } => self.start(step, total),
            Event::Bytes { done, .. } => self.with_bar(|bar| bar.set_position(done)),
            Event::Line { step, line } => {
                self.with_bar(|bar| bar.set_message(format!("{step}  {line}")));
            }
            Event::Finished { step, cached } => self.finish(step, cached),
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.set(None);
    }
}
