//! `glasshouse serve`: parse, build, run.

use std::io::IsTerminal;
use std::process::ExitCode;

use glass_server::{Config, RuntimeKind, ServeArgs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::{RuntimeArgument, ServeArguments};
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::{Failure, Naming};

/// What is logged unless `GLASSHOUSE_LOG` says otherwise.
const LOG: &str = "info,sqlx=warn,sea_orm=warn,hyper=warn";

pub(crate) async fn run(context: &Context, arguments: ServeArguments) -> Result<ExitCode, Failure> {
    let detached = arguments.detached;
    if detached {
        // Away from the terminal and from whoever started us. Already alone in a session: as good.
        let _ = rustix::process::setsid();
    }
    log()?;
    raise_open_files();
    let arguments = self::arguments(context, arguments);
    let config =
        Config::load(arguments, variable).map_err(|errors| Failure::usage(errors.to_string()))?;
    let interrupt = stop_signal(SignalKind::interrupt())?;
    let terminate = stop_signal(SignalKind::terminate())?;
    let server = config
        .build()
        .await
        .map_err(|error| Failure::new(described(&error)))?;
    let daemon = Daemon::of(context.data());
    let addresses = server.addresses();
    let first = addresses
        .first()
        .expect("a server that was built listens somewhere");
    let url = daemon.announce(*first)?;
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), url, "serving");
    let line = if context.json || detached {
        serde_json::json!({ "url": url }).to_string()
    } else {
        format!("Glasshouse serves at {url}")
    };
    context.out.line(line)?;
    server.run(either(interrupt, terminate)).await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What the server is told.
pub(super) fn arguments(context: &Context, arguments: ServeArguments) -> ServeArgs {
    ServeArgs {
        data: context.data().to_owned(),
        listen: arguments.listen,
        runtime: kind(arguments.runtime),
        preview_domain: arguments.preview_domain,
        agents_dir: arguments.agents,
        // By this name it is the running program, also after an upgrade has put another file in its place.
        program: Some("/proc/self/exe".into()),
    }
}

/// A variable of the environment.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Every preview, tunnel and gateway connection is an open file, and the usual soft limit of 1024 is a few sandboxes.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

pub(super) fn kind(runtime: RuntimeArgument) -> RuntimeKind {
    match runtime {
        RuntimeArgument::Auto => RuntimeKind::Auto,
        RuntimeArgument::Native => RuntimeKind::Native,
        RuntimeArgument::Docker => RuntimeKind::Docker,
        RuntimeArgument::Sim => RuntimeKind::Sim,
    }
}

fn log() -> Result<(), Failure> {
    let filter = match std::env::var_os("GLASSHOUSE_LOG").and_then(|text| text.into_string().ok()) {
        Some(text) => EnvFilter::try_new(&text).map_err(|error| {
            Failure::usage(format!("GLASSHOUSE_LOG {text:?}: {error}")).with_hint(
                "give a level such as debug, or targets such as info,glass_runtime=debug",
            )
        })?,
        None => EnvFilter::new(LOG),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init()
        .naming(|| "the log cannot be set up".to_owned())
}

fn stop_signal(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).naming(|| "cannot wait for signals".to_owned())
}

async fn either(mut one: Signal, mut other: Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// The error and its causes in one line.
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}
