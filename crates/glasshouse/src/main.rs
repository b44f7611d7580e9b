//! `glasshouse`: the server and the command line of Glasshouse in one program.

mod cli;
mod client;
mod command;
mod context;
mod daemon;
mod failure;
mod recipe;
mod reference;
mod render;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, InternalCommand};
use crate::context::Context;
use crate::failure::Failure;

fn main() -> ExitCode {
    // The one cryptography of this program. A second call would find it set, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    if let Command::Internal(InternalCommand::Archive) = cli.command {
        // Before there are threads: the worker makes those that it needs.
        return match glass_archive::work() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::new(format!("threads cannot be started: {error}")).report(false);
        }
    };
    let json = cli.global.json;
    let code = runtime.block_on(async {
        match Box::pin(run(cli)).await {
            Ok(code) => code,
            Err(failure) => failure.report(json),
        }
    });
    // A thread may still sit in a read of the terminal. Nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Up(arguments) => command::up::run(&context, arguments).await,
        Command::Down => command::down::run(&context).await,
        Command::Serve(arguments) => command::serve::run(&context, arguments).await,
        Command::New(arguments) => command::new::run(&context, arguments).await,
        Command::Ask(arguments) => command::ask::run(&context, arguments).await,
        Command::Ps(arguments) => command::ps::run(&context, arguments).await,
        Command::Exec(arguments) => command::exec::run(&context, arguments).await,
        Command::Shell(arguments) => command::shell::run(&context, arguments).await,
        Command::Logs(arguments) => command::logs::run(&context, arguments).await,
        Command::Cp(arguments) => command::cp::run(&context, arguments).await,
        Command::Export(arguments) => command::export::run(&context, arguments).await,
        Command::Import(arguments) => command::import::run(&context, arguments).await,
        Command::Open(arguments) => command::open::run(&context, arguments).await,
        Command::Link(arguments) => command::link::run(&context, arguments).await,
        Command::Stop(arguments) => command::power::stop(&context, arguments).await,
        Command::Start(arguments) => command::power::start(&context, arguments).await,
        Command::Freeze(arguments) => command::power::freeze(&context, arguments).await,
        Command::Keepalive(arguments) => command::rest::keepalive(&context, arguments).await,
        Command::Set(arguments) => command::rest::set(&context, arguments).await,
        Command::Stats(arguments) => command::stats::run(&context, arguments).await,
        Command::Settings(arguments) => command::rest::settings(&context, arguments).await,
        Command::Rm(arguments) => command::rm::run(&context, arguments).await,
        Command::Fork(arguments) => command::fork::run(&context, arguments).await,
        Command::Snapshot(command) => command::snapshot::run(&context, command).await,
        Command::Template(command) => command::template::run(&context, command).await,
        Command::Image(command) => command::image::run(&context, command).await,
        Command::Doctor(arguments) => command::doctor::run(&context, arguments).await,
        Command::Agents => command::agents::run(&context).await,
        Command::Version => command::version::run(&context).await,
        Command::Internal(InternalCommand::Archive) => {
            Err(Failure::new("a worker has no server to ask".to_owned()))
        }
        Command::Completions { shell } => command::completions::run(&context, shell),
    }
}
