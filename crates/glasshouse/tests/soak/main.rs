//! Many sandboxes, random work, and somebody who kills whatever there is: afterwards the world equals the database and
//! every file that was acknowledged is there.
//!
//! By default this is small enough for every run of the tests. `GLASSHOUSE_SOAK_SANDBOXES` and `GLASSHOUSE_SOAK_SECONDS`
//! make it larger, `GLASSHOUSE_CYCLES` says how often the one sandbox of the cycle test is frozen.
//! `GLASSHOUSE_SOAK_SEED` repeats the choices of a run, each worker's for itself. It does not repeat the run: what meets
//! what is up to the machine, and choices depend on what went before.

#![expect(
    clippy::print_stderr,
    reason = "whoever waits for minutes wants to see what happened"
)]

mod actions;
mod chaos;
mod client;
mod cycles;
#[path = "../e2e/harness.rs"]
#[expect(
    dead_code,
    reason = "made for another suite; not all of it is needed here"
)]
mod harness;
mod known;
mod soak;
mod socket;
mod world;

use std::str::FromStr;

/// What the environment says, or the usual.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration but this"
)]
fn option<T: FromStr>(name: &str, usual: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}
