//! Runs the programs of a build: their output line by line, killed when the build is cancelled.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

use crate::build::BuildError;
use crate::build::environment::PATH;
use crate::cancel::Cancel;
use crate::error::{ImageError, IoContext};

/// How many of the last lines an error shows.
const KEPT_LINES: usize = 40;
/// A longer line is cut.
const LINE_LIMIT: usize = 2_000;

/// A command in its own mount and pid namespace, which has the environment given and nothing else.
///
/// What it mounts and starts ends with it; and it ends with the thread that starts it, so with this process, however
/// that ends.
pub(crate) fn isolated() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "--",
            "unshare",
            "--mount",
            "--pid",
            "--ipc",
            "--fork",
            "--kill-child",
        ])
        .args(["--mount-proc", "--propagation", "private", "--"])
        .env_clear()
        .env("PATH", PATH);
    command
}

/// Runs a command to its end.
pub(crate) fn run(
    step: &str,
    mut command: Command,
    cancel: &Cancel,
    on_line: &dyn Fn(&str),
) -> Result<(), ImageError> {
    let program = Path::new(command.get_program()).to_owned();
    let (mut output, writer) = io::pipe().at(&program)?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().at(&program)?)
        .stderr(writer);
    let mut child = command.spawn().at(&program)?;
    // The command holds the writing end of the pipe too, which would never end.
    drop(command);

    let mut lines = Lines::default();
    let mut buffer = [0; 8192];
    loop {
        let mut fds = [
            PollFd::new(&output, PollFlags::IN),
            PollFd::new(cancel, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.at(&program)?,
        };
        if !fds[1].revents().is_empty() {
            child.kill().at(&program)?;
            // The pipe ends when the last process of the pid namespace is gone.
            while output.read(&mut buffer).at(&program)? > 0 {}
            child.wait().at(&program)?;
            return Err(ImageError::Cancelled);
        }
        let n = output.read(&mut buffer).at(&program)?;
        if n == 0 {
            break;
        }
        lines.feed(&buffer[..n], on_line);
    }
    lines.feed(b"\n", on_line);
    let status = child.wait().at(&program)?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Step {
        step: step.to_owned(),
        status: status.to_string(),
        output: lines.last.into_iter().collect::<Vec<_>>().join("\n"),
    }
    .into())
}

/// Cuts a stream into lines and keeps the last ones.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], on_line: &dyn Fn(&str)) {
        for &byte in bytes {
            // Programs that draw progress end their lines with a carriage return.
            if byte == b'\n' || byte == b'\r' {
                let text: String = String::from_utf8_lossy(&self.partial)
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect();
                self.partial.clear();
                if text.trim().is_empty() {
                    continue;
                }
                on_line(&text);
                if self.last.len() == KEPT_LINES {
                    self.last.pop_front();
                }
                self.last.push_back(text);
            } else if self.partial.len() < LINE_LIMIT {
                self.partial.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn shell(script: &str) -> Command {
        let mut command = isolated();
        command
            .env("PATH", "/usr/bin:/bin")
            .args(["sh", "-c", script]);
        command
    }

    #[test]
    fn lines_come_as_they_are_written() {
        let (cancel, _guard) = Cancel::pair().unwrap();
        let seen = Mutex::new(Vec::new());
        run(
            "x",
            shell("echo one; echo two >&2; printf three"),
            &cancel,
            &|line| {
                seen.lock().unwrap().push(line.to_owned());
            },
        )
        .unwrap();
        assert_eq!(*seen.lock().unwrap(), ["one", "two", "three"]);
    }

    #[test]
    fn a_failure_shows_the_step_and_its_last_lines() {
        let (cancel, _guard) = Cancel::pair().unwrap();
        let error = run("layer tools", shell("seq 100; exit 3"), &cancel, &|_| {}).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("layer tools") && text.contains("exit status: 3"),
            "{text}"
        );
        assert!(text.contains("\n61\n") && text.ends_with("\n100"), "{text}");
        assert!(!text.contains("\n60\n"), "{text}");
    }

    #[test]
    fn cancelling_kills_all_that_was_started() {
        let (cancel, guard) = Cancel::pair().unwrap();
        let guard = Mutex::new(Some(guard));
        // A child in the background, with the pipe and its own session, has to die too; else `run` would not return.
        let result = run(
            "x",
            shell("setsid sleep 1000 & echo up; sleep 1000"),
            &cancel,
            &|_| {
                guard.lock().unwrap().take();
            },
        );
        assert!(matches!(result, Err(ImageError::Cancelled)));
    }
}
