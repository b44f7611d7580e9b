//! Running a plan: install, build, then `web` and the workers, each with its keeper.

use std::sync::Arc;
use std::time::Duration;

use glass_guest_protocol::WEB_PORT;
use glass_guest_protocol::app::{AppCrash, AppState, AppStatus};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::detect::{Commands, Plan};
use super::health::is_open;
use super::keeper::{Keeper, Role};
use super::program::Program;
use super::{App, site};
use crate::process::describe;

/// Somebody else, an agent say, may be about to install; two at once would hurt each other.
const INSTALL_PATIENCE: Duration = Duration::from_secs(2);

pub(super) type Stop = watch::Receiver<bool>;

/// Runs a plan until it is told to stop, and leaves no process.
pub(super) async fn run(app: Arc<App>, plan: Plan, mut stop: Stop) {
    app.status.send_replace(AppStatus {
        kind: plan.kind(),
        framework: plan.framework().map(str::to_owned),
        ..AppStatus::default()
    });
    match plan {
        Plan::None => {}
        Plan::Bad(_, problem) => app.fail(problem),
        Plan::Static(directory) => {
            let Some(port) = port(&app, None, &mut stop).await else {
                return;
            };
            tokio::select! {
                () = serve(&app, directory, port) => {}
                () = stopped(&mut stop) => return,
            }
        }
        Plan::Commands(commands) => Box::pin(run_commands(&app, commands, &mut stop)).await,
    }
    // What is to be told is told; only a change ends it.
    stopped(&mut stop).await;
}

pub(super) async fn stopped(stop: &mut Stop) {
    // A sender that is gone stops too.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve(app: &App, directory: &str, port: u16) {
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => listener,
        Err(error) => return app.fail(format!("port {port}: {error}")),
    };
    let root = app.core.root.workspace.join(directory);
    app.change(|status| {
        status.state = AppState::Running;
        status.port = Some(port);
    });
    let Err(error) = site::serve(listener, root).await;
    app.fail(error.message);
}

/// The port to use, when nobody else has it. None when stopped before.
async fn port(app: &App, fixed: Option<u16>, stop: &mut Stop) -> Option<u16> {
    let wanted = fixed.unwrap_or(WEB_PORT);
    loop {
        if !is_open(wanted).await {
            return Some(wanted);
        }
        // Without a network namespace the port may be a stranger's; another one does as well.
        let shared = app.core.config.run_as.is_none();
        if shared && fixed.is_none() && !app.ports.has(wanted).await {
            let free = TcpListener::bind(("127.0.0.1", 0)).await.ok()?;
            return Some(free.local_addr().ok()?.port());
        }
        app.change(|status| {
            status.state = AppState::Running;
            status.port = Some(wanted);
            status.message = Some(format!(
                "port {wanted} is served by a process that was not started by the supervision; it is left alone"
            ));
        });
        tokio::select! {
            () = sleep(Duration::from_secs(1)) => {}
            () = stopped(stop) => return None,
        }
    }
}

async fn run_commands(app: &Arc<App>, commands: Commands, stop: &mut Stop) {
    let port = match &commands.web {
        Some(_) => match port(app, commands.port, stop).await {
            Some(port) => Some(port),
            None => return,
        },
        None => None,
    };
    app.change(|status| {
        status.message = None;
        status.command.clone_from(&commands.web);
        status.port = port;
    });
    if let Some(install) = &commands.install {
        tokio::select! {
            () = sleep(INSTALL_PATIENCE) => {}
            () = stopped(stop) => return,
        }
        let listing = super::workspace::read(&app.core.root).await;
        let still = match super::detect(&listing) {
            Plan::Commands(commands) => commands.install.is_some(),
            Plan::None | Plan::Static(_) | Plan::Bad(..) => false,
        };
        if still && !once(app, "install", install, AppState::Installing, port, stop).await {
            return;
        }
    }
    if let Some(build) = &commands.build
        && !once(app, "build", build, AppState::Building, port, stop).await
    {
        return;
    }
    app.change(|status| {
        status.state = match port {
            Some(_) => AppState::Starting,
            None if commands.workers.is_empty() => AppState::Idle,
            None => AppState::Running,
        };
    });
    let mut kept = JoinSet::new();
    let all = commands
        .workers
        .into_iter()
        .chain(commands.web.map(|command| ("web".to_owned(), command)));
    for (name, command) in all {
        let role = if name == "web" {
            Role::Web {
                health_path: commands.health_path.clone(),
            }
        } else {
            Role::Worker
        };
        let (orders, ordered) = mpsc::channel(8);
        app.orders().insert(name.clone(), orders);
        let keeper = Keeper {
            app: Arc::clone(app),
            name,
            command,
            port,
            role,
        };
        kept.spawn(keeper.keep(ordered, stop.clone()));
    }
    kept.join_all().await;
    app.orders().clear();
}

/// Runs a command to its end. Says whether to go on.
async fn once(
    app: &App,
    name: &str,
    command: &str,
    state: AppState,
    port: Option<u16>,
    stop: &mut Stop,
) -> bool {
    app.change(|status| status.state = state);
    let mut program = match Program::start(app, name, command, port).await {
        Ok(program) => program,
        Err(error) => {
            app.fail(format!("{name}: {}", error.message));
            return false;
        }
    };
    let tell = |state, pid, message| {
        app.process(name, |process| {
            process.state = state;
            process.pid = pid;
            process.message = message;
        });
    };
    tell(state, Some(program.pid), None);
    tokio::select! {
        status = program.ended() => {
            let end = describe(status);
            if end.error.is_none() {
                tell(AppState::Stopped, None, None);
                return true;
            }
            let lines = app.logs.tail(name);
            let message = format!("{name} ({command}) ended with {}:\n{}", end.status, lines.join("\n"));
            tell(AppState::Failed, None, Some(message.clone()));
            app.fail(message);
            app.events.add(&AppCrash {
                process: name.to_owned(),
                command: command.to_owned(),
                status: end.status,
                exit_code: end.exited.then_some(end.exit_code),
                signal: end.signal,
                given_up: true,
                lines,
            });
            false
        }
        () = stopped(stop) => {
            program.end().await;
            false
        }
    }
}
