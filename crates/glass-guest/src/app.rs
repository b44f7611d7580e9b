//! Supervision of the app in the workspace.
//!
//! One task decides what to run and runs it until what decides changes: read the workspace, make a plan, supervise it,
//! and when the plan is another one, stop and begin again.

mod detect;
mod logs;
mod manifest;
pub(crate) mod service;
mod site;
mod supervise;
mod workspace;

use std::convert::Infallible;
use std::sync::Arc;

use glass_guest_protocol::app::{AppKind, AppProcess, AppState, AppStatus};
use tokio::sync::{Notify, watch};

use crate::guest::Core;
use crate::ports::Ports;
use detect::{Plan, detect};
use logs::Logs;

/// The app.
#[derive(Debug)]
pub(crate) struct App {
    core: Arc<Core>,
    ports: Arc<Ports>,
    status: watch::Sender<AppStatus>,
    logs: Arc<Logs>,
    restart: Notify,
}

impl App {
    pub(crate) fn new(core: Arc<Core>, ports: Arc<Ports>) -> Self {
        Self {
            core,
            ports,
            status: watch::Sender::new(AppStatus::default()),
            logs: Arc::default(),
            restart: Notify::new(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut AppStatus)) {
        self.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }

    /// Changes what is told of one process.
    fn process(&self, name: &str, state: AppState, pid: Option<u32>, restarts: u32) {
        let process = AppProcess {
            name: name.to_owned(),
            state,
            pid,
            restarts,
        };
        self.change(
            |status| match status.processes.iter_mut().find(|known| known.name == name) {
                Some(known) => *known = process,
                None => status.processes.push(process),
            },
        );
    }

    fn fail(&self, message: String) {
        self.change(|status| {
            status.state = AppState::Failed;
            status.message = Some(message);
        });
    }

    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        let mut watcher = workspace::Watcher::new(&self.core.root.workspace).await;
        loop {
            let mut listing = workspace::read(&self.core.root).await;
            let plan = detect(&listing);
            let (stop, stopped) = watch::channel(false);
            let running = tokio::spawn(supervise::run(Arc::clone(&self), plan.clone(), stopped));
            loop {
                tokio::select! {
                    () = self.restart.notified() => break,
                    () = watcher.changed() => {}
                }
                let now = workspace::read(&self.core.root).await;
                if now == listing {
                    continue;
                }
                listing = now;
                let failed = self.status.borrow().state == AppState::Failed;
                if failed || detect(&listing).without_install() != plan.without_install() {
                    break;
                }
            }
            self.change(|status| status.state = AppState::Stopped);
            // The receiver is gone when all of it has ended.
            let _ = stop.send(true);
            let _ = running.await;
        }
    }
}

impl Plan {
    /// What is to be installed comes and goes while the app is the same.
    fn without_install(&self) -> Self {
        let mut plan = self.clone();
        if let Self::Commands(commands) = &mut plan {
            commands.install = None;
        }
        plan
    }

    fn kind(&self) -> AppKind {
        match self {
            Self::None => AppKind::None,
            Self::Commands(commands) => commands.kind,
            Self::Static(_) => AppKind::Static,
            Self::Bad(kind, _) => *kind,
        }
    }
}
