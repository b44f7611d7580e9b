//! Somebody who kills.

use std::path::Path;
use std::time::Duration;

use glass_testing::TestServer;
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::known::Known;

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
) -> anyhow::Result<Kills> {
    let mut kills = Kills::default();
    while Instant::now() < until {
        sleep(Duration::from_millis(random.random_range(50..1500))).await;
        match random.random_range(0..10) {
            0..2 => {
                server.kill().await?;
                kills.servers += 1;
                sleep(Duration::from_millis(random.random_range(0..500))).await;
                server.launch().await?;
            }
            2..6 => kills.guests += kill_one(server.data(), known, random, true),
            _ => kills.processes += kill_one(server.data(), known, random, false),
        }
    }
    Ok(kills)
}

/// Kills the init of some sandbox, or another process in it. Answers how many were killed.
fn kill_one(data: &Path, known: &Known, random: &mut StdRng, init: bool) -> u32 {
    let Some(id) = known.victim(random) else {
        return 0;
    };
    let record = data.join("runtime/sandboxes").join(&id).join("init.json");
    let Some(first) = std::fs::read(record)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .and_then(|record| record["pid"].as_i64())
    else {
        return 0;
    };
    let target = if init {
        Some(first)
    } else {
        child_of(first, random)
    };
    let pid = target.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // The record of one that is stopped is gone, but it may stop between the look and the kill: only what is still in
    // a control group of that sandbox is killed.
    let Some(pid) = pid.filter(|pid| belongs(*pid, &id)) else {
        return 0;
    };
    u32::from(kill_process(pid, Signal::KILL).is_ok())
}

fn child_of(pid: i64, random: &mut StdRng) -> Option<i64> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).ok()?;
    let children: Vec<i64> = text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    (!children.is_empty()).then(|| children[random.random_range(0..children.len())])
}

fn belongs(pid: Pid, sandbox: &str) -> bool {
    let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
    std::fs::read_to_string(path).is_ok_and(|groups| groups.contains(sandbox))
}
