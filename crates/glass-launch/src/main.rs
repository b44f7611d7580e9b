//! Starts one container and exits.
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
mod failure;
mod launch;
mod loopback;
mod mounts;
mod seed;
mod skeleton;
mod spare;
mod steps;
mod sys;

use std::io::{self, Read, Write};

use failure::{Failure, Step};
use glass_launch::{LaunchReport, LaunchSpec, StepTime};
use steps::Steps;

fn main() -> io::Result<()> {
    let report = match run() {
        Ok(steps) => LaunchReport::Started(steps),
        Err(Failure { step, reason }) => LaunchReport::Failed { step, reason },
    };
    let mut line = serde_json::to_vec(&report)?;
    line.push(b'\n');
    io::stdout().write_all(&line)
}

fn run() -> Result<Vec<StepTime>, Failure> {
    let mut steps = Steps::begin();
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).step("read the spec")?;
    let spec: LaunchSpec = serde_json::from_slice(&text).step("read the spec")?;
    steps.done("read the spec");
    launch::launch(&spec, steps)
}
