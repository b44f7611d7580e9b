//! Keeps one process of the app running, and does what it is told.
//!
//! ```text
//!            start, restart, a pause is over
//!   resting ────────────────────────────────► running
//!           ◄────────────────────────────────
//!            stop; it ended: pause or give up
//! ```

use std::sync::Arc;
use std::time::Duration;

use glass_guest_protocol::app::{AppAction, AppCrash, AppState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::backoff::{self, Backoff};
use super::program::Program;
use super::supervise::{Stop, stopped};
use super::{App, health};
use crate::process::describe;

/// An action, and who waits for it to be done.
pub(super) type Order = (AppAction, oneshot::Sender<()>);

/// One process of the app.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) app: Arc<App>,
    pub(super) name: String,
    pub(super) command: String,
    pub(super) port: Option<u16>,
    pub(super) role: Role,
}

/// What a process is to the app.
#[derive(Debug)]
pub(super) enum Role {
    Worker,
    Web { health_path: Option<String> },
}

enum Step {
    Run,
    /// For a time, or until somebody says otherwise.
    Rest(Option<Duration>),
}

impl Keeper {
    /// Keeps it until the plan is stopped, and leaves no process.
    pub(super) async fn keep(self, mut orders: mpsc::Receiver<Order>, mut stop: Stop) {
        let mut backoff = Backoff::default();
        let mut step = Step::Run;
        if self.app.is_stopped(&self.name) {
            self.tell(AppState::Stopped, None);
            step = Step::Rest(None);
        }
        // Whoever gave the order that is being done.
        let mut waiting: Option<oneshot::Sender<()>> = None;
        let done = |waiting: &mut Option<oneshot::Sender<()>>| {
            if let Some(waiting) = waiting.take() {
                let _ = waiting.send(());
            }
        };
        loop {
            step = match step {
                Step::Rest(pause) => {
                    done(&mut waiting);
                    let pause = async {
                        match pause {
                            Some(pause) => sleep(pause).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = pause => {
                            self.again();
                            Step::Run
                        }
                        () = stopped(&mut stop) => return,
                        Some((action, waits)) = orders.recv() => {
                            waiting = Some(waits);
                            self.obey(action, &mut backoff)
                        }
                    }
                }
                Step::Run => {
                    let started =
                        Program::start(&self.app, &self.name, &self.command, self.port).await;
                    let mut program = match started {
                        Ok(program) => program,
                        Err(error) => {
                            self.fail(format!("{}: {}", self.name, error.message));
                            step = Step::Rest(None);
                            continue;
                        }
                    };
                    let began = Instant::now();
                    self.tell(self.role.starting(), Some(program.pid));
                    done(&mut waiting);
                    let watching = self.watch(program.pid);
                    tokio::pin!(watching);
                    loop {
                        tokio::select! {
                            status = program.ended() => {
                                // What it left behind would keep the port.
                                program.end().await;
                                break self.ended(status, began.elapsed(), &mut backoff);
                            }
                            () = stopped(&mut stop) => {
                                program.end().await;
                                return self.tell(AppState::Stopped, None);
                            }
                            Some((action, waits)) = orders.recv() => {
                                waiting = Some(waits);
                                if action == AppAction::Start {
                                    done(&mut waiting);
                                    continue;
                                }
                                program.end().await;
                                break self.obey(action, &mut backoff);
                            }
                            never = &mut watching => match never {},
                        }
                    }
                }
            };
        }
    }

    async fn watch(&self, pid: u32) -> std::convert::Infallible {
        match (&self.role, self.port) {
            (Role::Web { health_path }, Some(port)) => {
                health::watch(&self.app, port, health_path.as_deref(), pid).await
            }
            (Role::Web { .. } | Role::Worker, _) => std::future::pending().await,
        }
    }

    /// Does what it is told with a process that does not run.
    fn obey(&self, action: AppAction, backoff: &mut Backoff) -> Step {
        *backoff = Backoff::default();
        match action {
            AppAction::Start | AppAction::Restart => {
                self.again();
                Step::Run
            }
            AppAction::Stop => {
                self.app.logs.add(&self.name, b"[stopped]");
                self.tell(AppState::Stopped, None);
                Step::Rest(None)
            }
        }
    }

    /// It ended by itself.
    fn ended(&self, status: i32, ran: Duration, backoff: &mut Backoff) -> Step {
        let end = describe(status);
        let lines = self.app.logs.tail(&self.name);
        self.app
            .logs
            .add(&self.name, format!("[{}]", end.status).as_bytes());
        let next = backoff.ended(ran);
        self.app.events.add(&AppCrash {
            process: self.name.clone(),
            command: self.command.clone(),
            status: end.status.clone(),
            exit_code: end.exited.then_some(end.exit_code),
            signal: end.signal,
            given_up: matches!(next, backoff::Next::GiveUp(_)),
            lines: lines.clone(),
        });
        match next {
            backoff::Next::Again(pause) => {
                self.tell(AppState::Starting, None);
                Step::Rest(Some(pause))
            }
            backoff::Next::GiveUp(times) => {
                self.fail(format!(
                    "{} ({}) ended {times} times in a row, with {}; it is started again when it is told to, or when a file that decides changes:\n{}",
                    self.name,
                    self.command,
                    end.status,
                    lines.join("\n")
                ));
                Step::Rest(None)
            }
        }
    }

    fn again(&self) {
        self.app
            .process(&self.name, |process| process.restarts += 1);
    }

    /// Tells how it is. How `web` is, the app is.
    fn tell(&self, state: AppState, pid: Option<u32>) {
        self.app.process(&self.name, |process| {
            process.state = state;
            process.pid = pid;
            process.message = None;
        });
        if matches!(self.role, Role::Web { .. }) {
            self.app.change(|status| {
                status.state = state;
                status.message = None;
                status.health = None;
            });
        }
    }

    /// Without a worker the app still answers; without `web` it has failed.
    fn fail(&self, message: String) {
        self.app.process(&self.name, |process| {
            process.state = AppState::Failed;
            process.pid = None;
            process.message = Some(message.clone());
        });
        self.app.change(|status| {
            if matches!(self.role, Role::Web { .. }) {
                status.state = AppState::Failed;
                status.health = None;
            }
            status.message = Some(message);
        });
    }
}

impl Role {
    /// The state of one that has just been started.
    fn starting(&self) -> AppState {
        match self {
            Self::Worker => AppState::Running,
            Self::Web { .. } => AppState::Starting,
        }
    }
}
