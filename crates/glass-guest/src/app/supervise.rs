//! Running a plan: install, build, then `web` and the workers, each started again when it ends.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use glass_guest_protocol::WEB_PORT;
use glass_guest_protocol::app::{AppState, AppStatus};
use glass_guest_protocol::connect::RpcError;
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::detect::{Commands, Plan};
use super::{App, site};
use crate::child::{self, Program, Streams};
use crate::identity::User;
use crate::process::{describe, nonblocking, pipe};
use crate::{fault, tree};

const GRACE: Duration = Duration::from_secs(2);
/// One that ends sooner than this has failed quickly.
const QUICK: Duration = Duration::from_secs(10);
const QUICK_FAILURES: u32 = 5;
const LOOK: Duration = Duration::from_millis(200);
/// After this a silent `web` is explained.
const SILENT: Duration = Duration::from_secs(30);
/// Somebody else, an agent say, may be about to install; two at once would hurt each other.
const INSTALL_PATIENCE: Duration = Duration::from_secs(2);

type Stop = watch::Receiver<bool>;

/// Runs a plan until it is told to stop, and leaves no process.
pub(super) async fn run(app: Arc<App>, plan: Plan, mut stop: Stop) {
    app.status.send_replace(AppStatus {
        kind: plan.kind(),
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

async fn stopped(stop: &mut Stop) {
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

async fn is_open(port: u16) -> bool {
    for address in ["127.0.0.1", "::1"] {
        if timeout(Duration::from_secs(1), TcpStream::connect((address, port)))
            .await
            .is_ok_and(|stream| stream.is_ok())
        {
            return true;
        }
    }
    false
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
        let (app, stop) = (Arc::clone(app), stop.clone());
        kept.spawn(async move {
            keep(&app, &name, &command, port, role, stop).await;
        });
    }
    kept.join_all().await;
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
    let mut process = match Process::start(app, name, command, port).await {
        Ok(process) => process,
        Err(error) => {
            app.fail(format!("{name}: {}", error.message));
            return false;
        }
    };
    app.process(name, state, Some(process.pid), 0);
    tokio::select! {
        status = process.ended() => {
            let end = describe(status);
            if end.error.is_none() {
                app.process(name, AppState::Stopped, None, 0);
                return true;
            }
            app.process(name, AppState::Failed, None, 0);
            let tail = app.logs.tail(name, 20);
            app.fail(format!("{name} ({command}) ended with {}:\n{tail}", end.status));
            false
        }
        () = stopped(stop) => {
            process.end().await;
            false
        }
    }
}

/// What a command is to the app.
enum Role {
    Worker,
    Web { health_path: Option<String> },
}

/// Keeps a command running.
async fn keep(app: &App, name: &str, command: &str, port: Option<u16>, role: Role, mut stop: Stop) {
    let is_web = matches!(role, Role::Web { .. });
    // Without a worker the app still answers.
    let fail = |message: String| {
        app.change(|status| {
            if is_web {
                status.state = AppState::Failed;
            }
            status.message = Some(message);
        });
    };
    let mut failures = 0;
    let mut restarts = 0;
    loop {
        let mut process = match Process::start(app, name, command, port).await {
            Ok(process) => process,
            Err(error) => {
                app.process(name, AppState::Failed, None, restarts);
                return fail(format!("{name}: {}", error.message));
            }
        };
        let began = Instant::now();
        let pid = Some(process.pid);
        let state = if is_web {
            AppState::Starting
        } else {
            AppState::Running
        };
        app.process(name, state, pid, restarts);
        let status = tokio::select! {
            status = process.ended() => status,
            () = stopped(&mut stop) => {
                process.end().await;
                return app.process(name, AppState::Stopped, None, restarts);
            }
            () = watch_health(app, &role, port, pid, restarts) => 0,
        };
        // What it left behind would keep the port.
        process.end().await;
        failures = if began.elapsed() < QUICK {
            failures + 1
        } else {
            1
        };
        let status = describe(status).status;
        app.logs.add(name, format!("[{status}]").as_bytes());
        if failures >= QUICK_FAILURES {
            app.process(name, AppState::Failed, None, restarts);
            let tail = app.logs.tail(name, 20);
            return fail(format!(
                "{name} ({command}) ended {failures} times in a row, with {status}; it is started again when a file that decides changes:\n{tail}"
            ));
        }
        app.process(name, AppState::Starting, None, restarts);
        if is_web {
            app.change(|status| status.state = AppState::Starting);
        }
        restarts += 1;
        tokio::select! {
            () = sleep(Duration::from_millis(250) * 2_u32.pow(failures)) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// Tells when `web` answers. Never returns.
async fn watch_health(app: &App, role: &Role, port: Option<u16>, pid: Option<u32>, restarts: u32) {
    let (Role::Web { health_path: path }, Some(port)) = (role, port) else {
        return std::future::pending().await;
    };
    let began = Instant::now();
    while !answers(port, path.as_deref()).await {
        if began.elapsed() > SILENT {
            let what = path.as_deref().unwrap_or("the port");
            app.change(|status| {
                status.message = Some(format!(
                    "web runs, but {what} does not answer on 127.0.0.1:{port}; it must listen on the port in $PORT"
                ));
            });
        }
        sleep(LOOK).await;
    }
    app.process("web", AppState::Running, pid, restarts);
    app.change(|status| {
        status.state = AppState::Running;
        status.message = None;
    });
    std::future::pending().await
}

async fn answers(port: u16, path: Option<&str>) -> bool {
    let Some(path) = path else {
        return is_open(port).await;
    };
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        // `HTTP/1.1 200` is all that matters.
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        Ok::<_, std::io::Error>(matches!(status[9], b'1'..=b'4'))
    };
    matches!(timeout(Duration::from_secs(5), ask).await, Ok(Ok(true)))
}

/// A command that runs. Dropped, it is killed.
#[derive(Debug)]
struct Process {
    pid: u32,
    ended: Option<oneshot::Receiver<i32>>,
    status: i32,
    reader: JoinSet<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_some() {
            tree::signal(self.pid, Signal::KILL);
        }
    }
}

impl Process {
    async fn start(
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
        let program = Program {
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
    async fn ended(&mut self) -> i32 {
        if let Some(ended) = &mut self.ended {
            self.status = ended.await.unwrap_or(0);
            self.ended = None;
            // Its last words; a child that it left behind does not hold us up.
            let _ = timeout(LOOK, self.reader.join_next()).await;
        }
        self.status
    }

    /// Ends it with all its children: asks first.
    async fn end(&mut self) {
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
