//! Standard output and the terminal behind it, if there is one.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::Style;
use crate::failure::Failure;

/// Where a terminal's width is not known, and what is comfortable to read where it is.
const WIDTH: u16 = 80;
const WIDEST: u16 = 100;

#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) style: Style,
    terminal: bool,
    stdout: io::Stdout,
    stderr: io::Stderr,
}

impl Out {
    pub(crate) fn standard() -> Self {
        let stdout = io::stdout();
        Self {
            style: Style::of(&stdout),
            terminal: stdout.is_terminal(),
            stdout,
            stderr: io::stderr(),
        }
    }

    /// Whether somebody looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns to wrap text at; none when the output goes to a program.
    pub(crate) fn width(&self) -> Option<usize> {
        if !self.terminal {
            return None;
        }
        let columns = rustix::termios::tcgetwinsize(&self.stdout)
            .map(|size| size.ws_col)
            .ok()
            .filter(|&columns| columns > 0)
            .unwrap_or(WIDTH);
        Some(usize::from(columns.clamp(20, WIDEST)))
    }

    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(text.as_ref().as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(stdout.flush()?)
    }

    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = self.stdout.lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::new(format!("the answer is not JSON: {error}")))?;
        self.line(text)
    }

    /// Something for people beside the output.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        // Nobody to tell is no reason to fail.
        let _ = writeln!(self.stderr.lock(), "{}", text.as_ref());
    }
}
