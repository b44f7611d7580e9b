//! Starts one container and exits. Given the word `keep`, keeps the disk of a running one; given `prepare`, fills a disk
//! that others begin with.
//!
//! ```text
//! runtime ── spec ─► launcher ── fork into new namespaces ─► init: mounts, pivot_root
//!                       │ writes init.json, meanwhile               │ cgroups
//!                       │                    ────── go ────────────►│ user namespace, capabilities, seccomp
//!                       ◄──────────── closed by exec, or failure ───┘ exec of the guest
//! ```
//!
//! The launcher has one thread, so that it may fork and enter namespaces. Whatever happens to the runtime meanwhile,
//! the launcher ends in one of two states: init runs and `init.json` names it, or init is gone.

mod confine;
mod container;
mod disk;
mod failure;
mod gvisor;
mod keeper;
mod launch;
mod mounts;
mod prepare;
mod seed;
mod skeleton;
mod spare;
mod steps;
mod sys;

use std::io::{self, Read, Write};

use failure::{Failure, Step};
use glass_launch::{KeepReport, LaunchReport, LaunchSpec, StepTime};
use steps::Steps;

fn main() -> io::Result<()> {
    // One program for all that is done apart from the server, so that there is one to carry.
    let launched = match std::env::args().nth(1).as_deref() {
        Some("keep") => {
            return answer(&match keeper::run() {
                Ok(()) => KeepReport::Kept,
                Err(e) => KeepReport::Failed(e.to_string()),
            });
        }
        Some("prepare") => run(prepare::prepare),
        _ => run(launch::launch),
    };
    answer(&match launched {
        Ok(steps) => LaunchReport::Started(steps),
        Err(failure) if failure.is_ended() => LaunchReport::Ended,
        Err(Failure { step, reason }) => LaunchReport::Failed { step, reason },
    })
}

fn answer(report: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}

fn run(
    work: impl FnOnce(&LaunchSpec, Steps) -> Result<Vec<StepTime>, Failure>,
) -> Result<Vec<StepTime>, Failure> {
    let mut steps = Steps::begin();
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).step("read the spec")?;
    let spec: LaunchSpec = serde_json::from_slice(&text).step("read the spec")?;
    steps.done("read the spec");
    work(&spec, steps)
}
