//! A command of the app that runs, with its output going to the log.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use glass_guest_protocol::connect::RpcError;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::App;
use crate::child::{self, Streams};
use crate::identity::User;
use crate::process::{nonblocking, pipe};
use crate::{fault, tree};

const GRACE: Duration = Duration::from_secs(2);
/// How long the last words of one that ended are waited for: a child that it left behind may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A command that runs. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) pid: u32,
    ended: Option<oneshot::Receiver<i32>>,
    status: i32,
    reader: JoinSet<()>,
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended.is_some() {
            tree::signal(self.pid, Signal::KILL);
        }
    }
}

impl Program {
    /// Starts a shell command; `PORT` in its environment is the port of `web`.
    pub(super) async fn start(
        app: &App,
        name: &str,
        command: &str,
        port: Option<u16>,
    ) -> Result<Self, RpcError> {
        let io = |error: std::io::Error| fault::io("standard streams", &error);
        let (read, write) = pipe().map_err(io)?;
        let streams = Streams {
            stdin: std::process::Stdio::null(),
            stdout: write.try_clone().map_err(io)?.into(),
            stderr: write.into(),
            terminal: false,
        };
        let mut env = BTreeMap::from([
            ("HOST".to_owned(), "127.0.0.1".to_owned()),
            ("BROWSER".to_owned(), "none".to_owned()),
            ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
        ]);
        env.extend(port.map(|port| ("PORT".to_owned(), port.to_string())));
        let program = child::Program {
            command: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), command.to_owned()],
            env,
            cwd: app.core.root.workspace.clone(),
            user: User::Own,
        };
        let output = nonblocking(read).map_err(io)?;
        app.logs.add(name, format!("$ {command}").as_bytes());
        let started = child::start(&app.core, program, streams).await?;
        let mut reader = JoinSet::new();
        let (logs, name) = (Arc::clone(&app.logs), name.to_owned());
        reader.spawn(async move { read_lines(output, |line| logs.add(&name, line)).await });
        Ok(Self {
            pid: started.pid,
            ended: Some(started.ended),
            status: 0,
            reader,
        })
    }

    /// Its wait status. May be asked again.
    pub(super) async fn ended(&mut self) -> i32 {
        if let Some(ended) = &mut self.ended {
            self.status = ended.await.unwrap_or(0);
            self.ended = None;
        }
        let _ = timeout(LAST_WORDS, self.reader.join_next()).await;
        self.status
    }

    /// Ends it with all its children: asks first.
    pub(super) async fn end(&mut self) {
        tree::signal(self.pid, Signal::TERM);
        if timeout(GRACE, self.ended()).await.is_err() {
            tree::signal(self.pid, Signal::KILL);
            self.ended().await;
        }
        // What is left of its session.
        tree::signal(self.pid, Signal::KILL);
    }
}

async fn read_lines(output: AsyncFd<OwnedFd>, mut line: impl FnMut(&[u8])) {
    /// A longer line is told in parts.
    const LINE: usize = 64 << 10;
    let mut rest = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = output.async_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut buffer[..])?)
        });
        let Ok(length @ 1..) = read.await else { break };
        for byte in &buffer[..length] {
            if *byte == b'\n' || rest.len() == LINE {
                line(&rest);
                rest.clear();
            }
            if *byte != b'\n' {
                rest.push(*byte);
            }
        }
    }
    if !rest.is_empty() {
        line(&rest);
    }
}
