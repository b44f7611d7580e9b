//! The process of one agent while it runs.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use glass_guest_protocol::agent::{AgentSource, AgentStart, CONTINUED, MAX_LINE};
use glass_guest_protocol::connect::RpcError;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

use super::Agent;
use super::log::Appended;
use crate::child::{self, Program, Streams};
use crate::guest::Core;
use crate::identity::User;
use crate::process::{describe, nonblocking, pipe, write_all};
use crate::{fault, tree};

/// What may wait for a process that does not read.
const MAX_WAITING: usize = 64 << 20;
/// After the process has ended, at most so much of what is left in a pipe is read.
const PIPE: usize = 1 << 20;

/// The way to a process that runs.
#[derive(Debug)]
pub(super) struct Runner {
    pid: u32,
    input: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl Runner {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }
}

impl Agent {
    /// Notes the line, then sends it. Says whether this call did.
    pub(super) fn send(&self, key: &str, once: &str, line: &str) -> Result<bool, RpcError> {
        if line.contains('\n') {
            return Err(fault::invalid("line holds a line break, send one line"));
        }
        if line.len() > MAX_LINE {
            return Err(fault::invalid(format!(
                "line is {} bytes long, the limit is {MAX_LINE}",
                line.len()
            )));
        }
        // One lock over both, so that the process reads the lines in the order of the log.
        self.with_runner(|runner| {
            let full = runner
                .as_ref()
                .is_some_and(|runner| runner.waiting.load(Ordering::Relaxed) > MAX_WAITING);
            if full {
                return Err(fault::exhausted(format!(
                    "agent process {key:?} does not read its input: more than {MAX_WAITING} bytes wait for it"
                )));
            }
            let appended = self
                .log
                .append(AgentSource::Stdin, Some(once), line)
                .map_err(|error| fault::io("the agent's log", &error))?;
            match (appended, runner) {
                (Appended::Repeated, _) => Ok(false),
                (Appended::Done, Some(runner)) => {
                    let mut bytes = Vec::with_capacity(line.len() + 1);
                    bytes.extend_from_slice(line.as_bytes());
                    bytes.push(b'\n');
                    runner.waiting.fetch_add(bytes.len(), Ordering::Relaxed);
                    // A process that has closed its input ends soon or talks on; the log tells.
                    let _ = runner.input.send(bytes);
                    Ok(true)
                }
                (Appended::Done, None) => Ok(true),
                (Appended::Ended, _) => Err(fault::precondition(format!(
                    "agent process {key:?} has ended"
                ))),
            }
        })
    }

    /// Kills the process and all its children, and returns when the log has its last line.
    pub(super) async fn stop(&self) {
        if let Some(pid) = self.with_runner(|runner| runner.as_ref().map(Runner::pid)) {
            tree::signal(pid, Signal::KILL);
            self.log.ended().await;
        }
    }
}

/// Starts the process of an agent.
pub(super) async fn start(
    core: &Arc<Core>,
    agent: &Arc<Agent>,
    request: &AgentStart,
) -> Result<(), RpcError> {
    let Some((command, args)) = request.argv.split_first() else {
        return Err(fault::invalid("argv is empty, name a program"));
    };
    let program = Program {
        command: command.clone(),
        args: args.to_vec(),
        env: request.env.clone(),
        cwd: core.root.directory(request.cwd.as_deref())?,
        user: User::Own,
    };
    let io = |error: std::io::Error| fault::io("standard streams", &error);
    let (child_stdin, stdin) = pipe().map_err(io)?;
    let (stdout, child_stdout) = pipe().map_err(io)?;
    let (stderr, child_stderr) = pipe().map_err(io)?;
    let stdin = nonblocking(stdin).map_err(io)?;
    let outputs = [
        (nonblocking(stdout).map_err(io)?, AgentSource::Stdout),
        (nonblocking(stderr).map_err(io)?, AgentSource::Stderr),
    ];
    let streams = Streams {
        stdin: child_stdin.into(),
        stdout: child_stdout.into(),
        stderr: child_stderr.into(),
        terminal: false,
    };
    let started = child::start(core, program, streams).await?;
    let (input, lines) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    tokio::spawn(feed(stdin, lines, Arc::clone(&waiting)));
    let pid = started.pid;
    agent.with_runner(|runner| {
        *runner = Some(Runner {
            pid,
            input,
            waiting,
        });
    });
    let (exited, exit) = watch::channel(false);
    let pumps = outputs.map(|(fd, source)| pump(fd, source, Arc::clone(agent), exit.clone()));
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        let status = started.ended.await.unwrap_or(0);
        exited.send_replace(true);
        for pump in pumps {
            // A pump that is gone has no more lines either.
            let _ = pump.await;
        }
        let text = describe(status).status;
        agent.with_runner(|runner| *runner = None);
        // A full disk: the next guest notes the end.
        let _ = agent.log.append(AgentSource::Exit, None, &text);
        let _ = agent.log.sync();
    });
    Ok(())
}

async fn feed(
    stdin: AsyncFd<OwnedFd>,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
) {
    while let Some(line) = lines.recv().await {
        let result = write_all(&stdin, &line).await;
        waiting.fetch_sub(line.len(), Ordering::Relaxed);
        if result.is_err() {
            return;
        }
    }
}

/// Moves lines into the log. The receiver is told when all that the process wrote is there.
fn pump(
    fd: AsyncFd<OwnedFd>,
    source: AgentSource,
    agent: Arc<Agent>,
    mut exited: watch::Receiver<bool>,
) -> oneshot::Receiver<()> {
    let (moved, done) = oneshot::channel();
    tokio::spawn(async move {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = fd.async_io(Interest::READABLE, |fd| {
                Ok(rustix::io::read(fd, &mut buffer[..])?)
            });
            let length = tokio::select! {
                length = read => length.unwrap_or(0),
                _ = exited.wait_for(|exited| *exited) => break,
            };
            if length == 0 {
                break;
            }
            lines.push(&buffer[..length], |line| note(&agent, source, line));
        }
        let mut rest = PIPE;
        while rest > 0
            && let Ok(length @ 1..) = rustix::io::read(fd.get_ref(), &mut buffer[..])
        {
            lines.push(&buffer[..length], |line| note(&agent, source, line));
            rest = rest.saturating_sub(length);
        }
        lines.finish(|line| note(&agent, source, line));
        // The receiver is gone only when the guest ends.
        let _ = moved.send(());
        // Children that it left behind, a server say, may write on: a closed pipe would kill them.
        loop {
            let read = fd.async_io(Interest::READABLE, |fd| {
                Ok(rustix::io::read(fd, &mut buffer[..])?)
            });
            if !matches!(read.await, Ok(1..)) {
                return;
            }
        }
    });
    done
}

fn note(agent: &Agent, source: AgentSource, line: &str) {
    if agent.log.append(source, None, line).is_err() {
        // A line that is not on disk must not be seen, and a log with a hole is worse than an agent that ended.
        if let Some(pid) = agent.with_runner(|runner| runner.as_ref().map(Runner::pid)) {
            tree::signal(pid, Signal::KILL);
        }
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.flush(&mut line);
        }
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > MAX_LINE {
            let tail = self.rest.split_off(MAX_LINE);
            let mut text = String::from_utf8_lossy(&self.rest).into_owned();
            text.push_str(CONTINUED);
            line(&text);
            self.rest = tail;
        }
    }

    fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            self.flush(&mut line);
        }
    }

    fn flush(&mut self, line: &mut impl FnMut(&str)) {
        if self.rest.last() == Some(&b'\r') {
            self.rest.pop();
        }
        line(&String::from_utf8_lossy(&self.rest));
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for part in parts {
            lines.push(part, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_found_wherever_the_bytes_are_cut() {
        assert_eq!(
            cut(&[b"a\nb", b"c\r", b"\n\nrest"]),
            ["a", "bc", "", "rest"]
        );
        assert_eq!(cut(&[b"", b"\xff\n"]), ["\u{fffd}"]);
    }

    #[test]
    fn a_giant_line_is_split_and_marked() {
        let giant = vec![b'x'; MAX_LINE + 5];
        let found = cut(&[&giant, b"\n"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with(CONTINUED));
        assert_eq!(found[1], "xxxxx");
    }
}
