//! The supervisor inside a sandbox: pid 1 of the native backend, an ordinary process of the simulated one.
//!
//! One thread runs everything that does not touch the user's files; see [`identity`] for the ones that do. It relies on
//! no program of the image.

mod agent;
mod app;
mod carry;
mod child;
mod fault;
mod files;
mod gateway;
mod guest;
mod identity;
mod net;
mod paths;
mod ports;
mod process;
mod reaper;
mod reply;
mod server;
mod socket;
mod startup;
mod tree;
mod tunnel;

use std::process::ExitCode;
use std::time::Duration;

/// They are kept, and count against the sandbox's limit of processes.
const FILE_THREADS: usize = 32;
/// A thread that ends for lack of work cannot be had back while a fork bomb holds every process of the sandbox, and the
/// guest with no thread left would end. So those that were started once stay.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn main() -> ExitCode {
    let (config, sockets) = match startup::configure() {
        Ok(given) => given,
        Err(error) => return startup::complain(&error),
    };
    let run_as = config.run_as;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(FOREVER)
        .on_thread_start(move || identity::enter_as_thread(run_as))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return startup::complain(&error.into()),
    };
    let result = runtime.block_on(guest::run(config, sockets));
    // A thread may hang in a read of the user's file system; the end does not wait for it.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => startup::complain(&error),
    }
}
