//! Supervision of the app in the workspace.
//!
//! One task decides what to run and runs it until what decides changes: read the workspace, make a plan, supervise it,
//! and when the plan is another one, stop and begin again.

mod backoff;
mod detect;
mod events;
mod health;
mod journal;
mod keeper;
mod logs;
mod manifest;
mod program;
pub(crate) mod service;
mod site;
mod supervise;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use glass_guest_protocol::app::{AppAction, AppKind, AppProcess, AppState, AppStatus};
use glass_guest_protocol::connect::{Code, RpcError};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::fault;
use crate::guest::Core;
use crate::ports::Ports;
use detect::{Plan, detect};
use events::Events;
use keeper::Order;
use logs::Logs;

/// The app.
#[derive(Debug)]
pub(crate) struct App {
    core: Arc<Core>,
    ports: Arc<Ports>,
    status: watch::Sender<AppStatus>,
    logs: Arc<Logs>,
    events: Events,
    restart: Notify,
    /// The keepers of the processes that run or rest.
    orders: Mutex<BTreeMap<String, mpsc::Sender<Order>>>,
    /// Processes that somebody stopped. They stay so when the plan changes.
    stopped: Mutex<BTreeSet<String>>,
}

impl App {
    pub(crate) fn new(core: Arc<Core>, ports: Arc<Ports>) -> Self {
        let directory = core.config.state_dir.join("app");
        Self {
            logs: Arc::new(Logs::open(&directory)),
            events: Events::open(&directory),
            core,
            ports,
            status: watch::Sender::new(AppStatus::default()),
            restart: Notify::new(),
            orders: Mutex::default(),
            stopped: Mutex::default(),
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
    fn process(&self, name: &str, change: impl FnOnce(&mut AppProcess)) {
        self.change(|status| {
            let known = status.processes.iter().position(|one| one.name == name);
            let at = known.unwrap_or_else(|| {
                status.processes.push(AppProcess {
                    name: name.to_owned(),
                    state: AppState::Idle,
                    pid: None,
                    restarts: 0,
                    message: None,
                });
                status.processes.len() - 1
            });
            change(&mut status.processes[at]);
        });
    }

    fn orders(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::Sender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self, name: &str) -> bool {
        self.stopped().contains(name)
    }

    /// Does something with one process, and tells how it is then.
    async fn order(&self, name: &str, action: AppAction) -> Result<AppProcess, RpcError> {
        let keeper = self.orders().get(name).cloned();
        let Some(keeper) = keeper else {
            return Err(self.no_process(name));
        };
        match action {
            AppAction::Stop => self.stopped().insert(name.to_owned()),
            AppAction::Start | AppAction::Restart => self.stopped().remove(name),
        };
        let (done, doing) = oneshot::channel();
        let sent = keeper.send((action, done)).await.is_ok();
        let process = if sent && doing.await.is_ok() {
            let status = self.status.borrow();
            status
                .processes
                .iter()
                .find(|one| one.name == name)
                .cloned()
        } else {
            None
        };
        process.ok_or_else(|| {
            let message = format!("the app is being started anew; {name} takes part in it");
            RpcError::new(Code::Unavailable, message)
        })
    }

    fn no_process(&self, name: &str) -> RpcError {
        let orders = self.orders();
        let known: Vec<&str> = orders.keys().map(String::as_str).collect();
        let shown: String = name.chars().take(64).collect();
        fault::not_found(if known.is_empty() {
            format!("there is no process {shown:?}: no process of the app is supervised now")
        } else {
            format!(
                "there is no process {shown:?}; there are {}",
                known.join(", ")
            )
        })
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
                    () = self.restart.notified() => {
                        self.stopped().clear();
                        break;
                    }
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
            // Who orders something now is told to come again.
            self.orders().clear();
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

    fn framework(&self) -> Option<&'static str> {
        match self {
            Self::Commands(commands) => commands.framework,
            Self::Static(_) => Some("static"),
            Self::None | Self::Bad(..) => None,
        }
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

/// Milliseconds since 1970 UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
