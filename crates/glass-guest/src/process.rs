//! `process.Process`: processes and terminals that clients start.
//!
//! A process belongs to the guest, not to the connection that started it: it goes on when its client goes away, and the
//! last of its output is kept for whoever connects next.

pub(crate) mod output;
mod pump;
pub(crate) mod service;
mod terminal;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::process::{
    ProcessData, ProcessEnd, ProcessInfo, ProcessInput, PtySize, Selector, StartRequest,
};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::child::{self, Program, Streams};
use crate::fault;
use crate::guest::Core;
use crate::identity::User;
use crate::tree;
use output::{Output, Reader};

/// More at once are a mistake of the client.
const MAX_PROCESSES: usize = 1024;

/// All that run.
#[derive(Debug)]
pub(crate) struct Processes {
    core: Arc<Core>,
    table: Mutex<BTreeMap<u32, Arc<Process>>>,
}

/// One that runs, or has just ended.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) info: ProcessInfo,
    pub(crate) output: Output,
    input: tokio::sync::Mutex<Option<AsyncFd<OwnedFd>>>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
    out_of_time: AtomicBool,
}

impl Processes {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            table: Mutex::default(),
        }
    }

    fn with_table<T>(&self, work: impl FnOnce(&mut BTreeMap<u32, Arc<Process>>) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn list(&self) -> Vec<ProcessInfo> {
        self.with_table(|table| table.values().map(|process| process.info.clone()).collect())
    }

    pub(crate) fn find(&self, selector: &Selector) -> Result<Arc<Process>, RpcError> {
        let found = self.with_table(|table| match selector {
            Selector::Pid(pid) => table.get(pid).cloned(),
            Selector::Tag(tag) => table
                .values()
                .find(|process| process.info.tag.as_ref() == Some(tag))
                .cloned(),
        });
        found.ok_or_else(|| {
            fault::not_found(match selector {
                Selector::Pid(pid) => format!("process {pid} does not run"),
                Selector::Tag(tag) => format!("no process with tag {tag:?} runs"),
            })
        })
    }

    /// Starts a process. The reader misses nothing of its output.
    pub(crate) async fn start(
        self: &Arc<Self>,
        request: StartRequest,
        timeout: Option<Duration>,
        user: User,
    ) -> Result<(Arc<Process>, Reader), RpcError> {
        if self.with_table(|table| table.len()) >= MAX_PROCESSES {
            return Err(fault::exhausted(format!(
                "{MAX_PROCESSES} processes run already, end some first"
            )));
        }
        let cwd = self.core.root.directory(request.process.cwd.as_deref())?;
        let program = Program {
            command: request.process.cmd.clone(),
            args: request.process.args.clone(),
            env: request.process.envs.clone(),
            cwd,
            user,
        };
        let out_of_pipes = |error: io::Error| fault::io("standard streams", &error);
        let (streams, ends) = match request.pty {
            Some(pty) => terminal::open(pty.size).await.map_err(out_of_pipes)?,
            None => pipes(request.stdin.unwrap_or(true)).map_err(out_of_pipes)?,
        };
        let started = child::start(&self.core, program, streams).await?;
        let process = Arc::new(Process {
            info: ProcessInfo {
                config: request.process,
                pid: started.pid,
                tag: request.tag,
            },
            output: Output::default(),
            input: tokio::sync::Mutex::new(ends.input),
            terminal: ends.terminal,
            out_of_time: AtomicBool::new(false),
        });
        // Before anything of the output is read.
        let reader = Reader::new(Arc::clone(&process));
        self.with_table(|table| table.insert(started.pid, Arc::clone(&process)));
        let (exited, exit) = watch::channel(false);
        let pumps: Vec<_> = ends
            .outputs
            .into_iter()
            .map(|(fd, wrap)| pump::start(fd, wrap, Arc::clone(&process), exit.clone()))
            .collect();
        let processes = Arc::clone(self);
        let watched = Arc::clone(&process);
        tokio::spawn(async move {
            let status = wait(started.ended, &watched, timeout).await;
            exited.send_replace(true);
            for pump in pumps {
                // A pump that is gone has no more output either.
                let _ = pump.await;
            }
            processes.with_table(|table| table.remove(&watched.info.pid));
            watched.output.end(describe(status));
        });
        Ok((process, reader))
    }
}

/// The process's wait status. Kills it when its time is over.
async fn wait(
    mut ended: tokio::sync::oneshot::Receiver<i32>,
    process: &Process,
    timeout: Option<Duration>,
) -> i32 {
    if let Some(timeout) = timeout {
        tokio::select! {
            status = &mut ended => return status.unwrap_or(0),
            () = tokio::time::sleep(timeout) => {
                process.out_of_time.store(true, Ordering::Relaxed);
                tree::signal(process.info.pid, Signal::KILL);
            }
        }
    }
    ended.await.unwrap_or(0)
}

/// The guest's ends of a process's standard streams.
#[derive(Debug)]
struct Ends {
    input: Option<AsyncFd<OwnedFd>>,
    terminal: Option<Arc<AsyncFd<OwnedFd>>>,
    outputs: Vec<(Arc<AsyncFd<OwnedFd>>, fn(Vec<u8>) -> ProcessData)>,
}

fn pipes(stdin: bool) -> io::Result<(Streams, Ends)> {
    let (input, child_input) = if stdin {
        let (read, write) = pipe()?;
        (Some(nonblocking(write)?), Stdio::from(read))
    } else {
        (None, Stdio::null())
    };
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    let streams = Streams {
        stdin: child_input,
        stdout: child_stdout.into(),
        stderr: child_stderr.into(),
        terminal: false,
    };
    let ends = Ends {
        input,
        terminal: None,
        outputs: vec![
            (
                Arc::new(nonblocking(stdout)?),
                ProcessData::Stdout as fn(_) -> _,
            ),
            (Arc::new(nonblocking(stderr)?), ProcessData::Stderr),
        ],
    };
    Ok((streams, ends))
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

#[expect(
    unsafe_code,
    reason = "the caller of register vouches for the descriptor"
)]
pub(crate) fn nonblocking(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    // SAFETY: the descriptor is owned, so it stays the same and open until the AsyncFd is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Writes all of it, as fast as the other end reads.
pub(crate) async fn write_all(fd: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = fd
            .async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?))
            .await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

impl Process {
    pub(crate) fn out_of_time(&self) -> bool {
        self.out_of_time.load(Ordering::Relaxed)
    }

    pub(crate) async fn send(&self, input: ProcessInput) -> Result<(), RpcError> {
        let pid = self.info.pid;
        let gone =
            |_| fault::precondition(format!("process {pid} does not read its input any more"));
        match (input, &self.terminal) {
            (ProcessInput::Pty(bytes) | ProcessInput::Stdin(bytes), Some(terminal)) => {
                // Whole inputs of several clients, not their pieces, take turns.
                let _turn = self.input.lock().await;
                write_all(terminal, &bytes).await.map_err(gone)
            }
            (ProcessInput::Stdin(bytes), None) => match &*self.input.lock().await {
                Some(input) => write_all(input, &bytes).await.map_err(gone),
                None => Err(fault::precondition(format!(
                    "standard input of process {pid} is closed"
                ))),
            },
            (ProcessInput::Pty(_), None) => Err(fault::precondition(format!(
                "process {pid} has no terminal, send stdin"
            ))),
        }
    }

    pub(crate) async fn close_input(&self) -> Result<(), RpcError> {
        if self.terminal.is_some() {
            return Err(fault::precondition(format!(
                "process {} has a terminal, send it the end-of-file character (Ctrl-D)",
                self.info.pid
            )));
        }
        *self.input.lock().await = None;
        Ok(())
    }

    pub(crate) fn resize(&self, size: PtySize) -> Result<(), RpcError> {
        let Some(terminal) = &self.terminal else {
            return Err(fault::precondition(format!(
                "process {} has no terminal",
                self.info.pid
            )));
        };
        terminal::resize(terminal.get_ref(), size).map_err(|error| fault::io("terminal", &error))
    }
}

/// A wait status in the words that clients know.
pub(crate) fn describe(status: i32) -> ProcessEnd {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        let text = format!("signal: {}", signal_name(signal));
        return ProcessEnd {
            exit_code: -1,
            exited: false,
            status: text.clone(),
            error: Some(text),
            signal: Some(signal),
        };
    }
    let code = libc::WEXITSTATUS(status);
    let text = format!("exit status {code}");
    ProcessEnd {
        exit_code: code,
        exited: true,
        status: text.clone(),
        error: (code != 0).then_some(text),
        signal: None,
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGHUP => "hangup".to_owned(),
        libc::SIGINT => "interrupt".to_owned(),
        libc::SIGQUIT => "quit".to_owned(),
        libc::SIGABRT => "aborted".to_owned(),
        libc::SIGKILL => "killed".to_owned(),
        libc::SIGSEGV => "segmentation fault".to_owned(),
        libc::SIGPIPE => "broken pipe".to_owned(),
        libc::SIGTERM => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}
