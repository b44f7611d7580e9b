//! Bars and spinners on standard error. Nobody watching: nothing drawn.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line at the bottom that says what is going on.
#[derive(Debug)]
pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    /// A spinner, or, where it would only disturb, none.
    pub(crate) fn new(shown: bool) -> Self {
        let bar = if shown {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(template(ProgressStyle::with_template(
            "{spinner:.cyan} {wide_msg:.dim}",
        )));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Takes the line away while something is printed.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over bytes, of which the total may not be known.
pub(crate) fn byte_bar(total: Option<u64>, name: &str) -> ProgressBar {
    let (bar, style) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{msg:24} {bar:24.cyan/dim} {bytes:>10} of {total_bytes} {bytes_per_sec} {eta}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{msg:24} {spinner:.cyan} {bytes:>10} {bytes_per_sec}",
        ),
    };
    bar.set_style(template(ProgressStyle::with_template(style)).progress_chars("━━─"));
    bar.set_message(name.to_owned());
    bar
}

/// A line that says what a step of unknown length does.
pub(super) fn step_bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(template(ProgressStyle::with_template(
        "{spinner:.cyan} {elapsed:.dim} {wide_msg}",
    )));
    bar.set_message(name.to_owned());
    bar
}

fn template(style: Result<ProgressStyle, indicatif::style::TemplateError>) -> ProgressStyle {
    style.expect("the templates of this file are well formed")
}
