//! The supervisor inside a sandbox: pid 1 of the native backend, an ordinary process of the simulated one.
//!
//! One thread runs everything that does not touch the user's files; see [`identity`] for the ones that do. It relies on
//! no program of the image.

mod agent;
mod app;
mod child;
mod fault;
mod files;
mod gateway;
mod guest;
mod identity;
mod paths;
mod ports;
mod process;
mod reaper;
mod reply;
mod server;
mod startup;
mod tree;

use std::process::ExitCode;

fn main() -> ExitCode {
    let config = match startup::configure() {
        Ok(config) => config,
        Err(error) => return startup::complain(&error),
    };
    let run_as = config.run_as;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || identity::enter_as_thread(run_as))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return startup::complain(&error.into()),
    };
    let result = runtime.block_on(guest::run(config));
    // A thread may hang in a read of the user's file system; the end does not wait for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => startup::complain(&error),
    }
}
