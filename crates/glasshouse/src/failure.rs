//! What went wrong, for people: one line that names it and one that says what to do. The one place that knows exit codes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use glass_api::Problem;

use crate::render::Style;

/// The exit code of a command line that cannot be understood (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

/// The exit code of a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
    /// What the server answered, for `--json`.
    problem: Option<Box<Problem>>,
    /// What it names is not there.
    missing: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: 1,
            problem: None,
            missing: false,
        }
    }

    /// Somebody pressed Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self {
            code: INTERRUPTED,
            ..Self::new("interrupted")
        }
    }

    pub(crate) fn is_interrupt(&self) -> bool {
        self.code == INTERRUPTED
    }

    /// What is named is not there.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self {
            missing: true,
            ..Self::new(message)
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Something on the command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            code: USAGE,
            ..Self::new(message)
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code, where another command has taught people what to expect.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Names the file that it is about, unless it is named already.
    pub(crate) fn about(mut self, path: &Path) -> Self {
        let path = path.display().to_string();
        if !self.message.contains(&path) {
            self.message = format!("{path}: {}", self.message);
        }
        self
    }

    /// Whoever read our output has gone (`glasshouse ps | head -1`): nothing to say, nobody to say it to.
    fn unread() -> Self {
        Self {
            code: 0,
            ..Self::new("")
        }
    }

    /// The server's word for what went wrong.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        self.problem.as_deref()
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tells people, or programs, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if !self.message.is_empty() {
            let text = if json { self.json() } else { self.text() };
            // Standard error may be closed too. Then the exit code must do.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
        ExitCode::from(self.code)
    }

    fn text(&self) -> String {
        let style = Style::of(&io::stderr());
        let mut text = format!("{} {}\n", style.red("error:"), self.message);
        if let Some(hint) = &self.hint {
            for line in hint.lines() {
                text.extend([&style.cyan(" hint:"), " ", line, "\n"]);
            }
        }
        text
    }

    fn json(&self) -> String {
        let value = match &self.problem {
            Some(problem) => serde_json::json!(problem),
            None => serde_json::json!({ "detail": self.message, "remedy": self.hint }),
        };
        format!("{value}\n")
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self {
            message: problem.detail.clone(),
            hint: problem.remedy.clone(),
            code: 1,
            problem: Some(Box::new(problem)),
            missing: false,
        }
    }
}

/// Of output alone: everything else says which file or connection it means.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::unread()
        } else {
            Self::new(format!("the output cannot be written: {error}"))
        }
    }
}

/// Says what was being done when it went wrong.
pub(crate) trait Naming<T> {
    fn naming(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Naming<T> for Result<T, E> {
    fn naming(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", what())))
    }
}

/// Prints help, or what is wrong with the command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::SUCCESS
    }
}
