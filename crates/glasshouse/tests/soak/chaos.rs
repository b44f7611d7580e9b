//! Somebody who kills.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use glass_testing::TestServer;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::known::Known;
use crate::world;

/// How often the guest of one sandbox is killed at the most. The fourth death in a row is answered by a pause of half a
/// minute, the following by more than a client here has patience for.
const DEATHS: u32 = 4;

/// What was killed.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) servers: u32,
    pub(crate) guests: u32,
    pub(crate) processes: u32,
}

/// Kills servers, guests and what runs beside them until the time is over. The server runs at the end.
pub(crate) async fn reign(
    server: &mut TestServer,
    known: &Known,
    random: &mut StdRng,
    until: Instant,
    over: &CancellationToken,
) -> anyhow::Result<Kills> {
    let mut kills = Kills::default();
    while Instant::now() < until && !over.is_cancelled() {
        sleep(Duration::from_millis(random.random_range(50..1500))).await;
        match random.random_range(0..10) {
            0..2 => {
                server.kill().await?;
                kills.servers += 1;
                // Those that were being made have no other trace yet.
                see(server.data(), known);
                sleep(Duration::from_millis(random.random_range(0..500))).await;
                server.launch().await?;
            }
            2..6 => kills.guests += kill_one(server.data(), known, random, true),
            _ => kills.processes += kill_one(server.data(), known, random, false),
        }
        see(server.data(), known);
    }
    Ok(kills)
}

/// Remembers all that have a directory.
pub(crate) fn see(data: &Path, known: &Known) {
    let entries = std::fs::read_dir(data.join("runtime/sandboxes"));
    for entry in entries.into_iter().flatten().flatten() {
        known.saw(&entry.file_name().to_string_lossy());
    }
}

/// Kills the init of some sandbox, or another process in it. Answers how many were killed.
fn kill_one(data: &Path, known: &Known, random: &mut StdRng, init: bool) -> u32 {
    // Half of them in the middle of something.
    let busy = known.busy(random).filter(|_| random.random_bool(0.5));
    let Some(chosen) = busy.or_else(|| known.any(random)) else {
        return 0;
    };
    let id = &chosen.id;
    let Some(first) = init_of(data, id) else {
        return 0;
    };
    let target = if init {
        Some(first)
    } else {
        other(id, first, random)
    };
    let pid = target.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // The record of one that is stopped is gone, but it may stop between the look and the kill: only what is still in
    // a control group of that sandbox is killed.
    let Some(pid) = pid.filter(|pid| belongs(*pid, id)) else {
        return 0;
    };
    if init && !known.may_die(id, DEATHS) {
        return 0;
    }
    chosen.story.note(if init {
        "its guest is KILLED"
    } else {
        "a process is KILLED"
    });
    u32::from(kill_process(pid, Signal::KILL).is_ok())
}

fn init_of(data: &Path, id: &str) -> Option<i64> {
    let record = data.join("runtime/sandboxes").join(id).join("init.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).ok()?).ok()?;
    record["pid"].as_i64()
}

/// Another process of the sandbox.
fn other(id: &str, init: i64, random: &mut StdRng) -> Option<i64> {
    let members = world::members(&BTreeSet::from([id.to_owned()])).ok()?;
    let pids = members
        .into_iter()
        .filter_map(|(_, process)| process.file_name()?.to_str()?.parse().ok());
    let others: Vec<i64> = pids.filter(|pid| *pid != init).collect();
    others.choose(random).copied()
}

fn belongs(pid: Pid, sandbox: &str) -> bool {
    let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
    std::fs::read_to_string(path).is_ok_and(|groups| groups.contains(sandbox))
}
