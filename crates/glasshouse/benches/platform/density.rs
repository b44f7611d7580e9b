//! What one more sandbox takes of the host's memory: running and idle, frozen, stopped.
//!
//! The floor is what its guest has for itself alone; the kernel's share for namespaces, mounts and control groups comes on
//! top of that in any container.

use std::fs;

use anyhow::Context;
use futures::future::try_join_all;
use glass_types::SandboxId;

use crate::figures::Amount;
use crate::place::Place;

const COUNT: u64 = 50;

pub(crate) async fn memory(place: &Place) -> anyhow::Result<Vec<Amount>> {
    // What all share is there already.
    let first = place.sandbox().await?;
    let before = available()?;
    let mut sandboxes = Vec::new();
    for _ in 0..COUNT {
        sandboxes.push(place.sandbox().await?);
    }
    let guest = guests_own(place, &sandboxes)?;
    let running = each(before)?;
    all(place, &sandboxes, "freeze").await?;
    let frozen = each(before)?;
    all(place, &sandboxes, "stop").await?;
    let stopped = each(before)?;
    for sandbox in sandboxes.iter().chain([&first]) {
        place.remove(sandbox).await?;
    }
    let amount = |what: &str, bytes| Amount {
        name: format!("memory per {what} sandbox, of {COUNT}"),
        bytes,
        floor: None,
    };
    Ok(vec![
        Amount {
            floor: Some(guest),
            ..amount("running idle", running)
        },
        Amount {
            floor: Some(guest),
            ..amount("frozen", frozen)
        },
        amount("stopped", stopped),
    ])
}

async fn all(place: &Place, sandboxes: &[SandboxId], action: &str) -> anyhow::Result<()> {
    try_join_all(sandboxes.iter().map(|one| place.power(one, action))).await?;
    Ok(())
}

/// Bytes that went since, for each.
fn each(before: u64) -> anyhow::Result<u64> {
    Ok(before.saturating_sub(available()?) / COUNT)
}

/// Bytes that the kernel could give to others. Files that it could drop any time are dropped first, so that they do not
/// count.
fn available() -> anyhow::Result<u64> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3")?;
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.context("no MemAvailable")? << 10)
}

/// The mean of what their guests have for themselves.
fn guests_own(place: &Place, sandboxes: &[SandboxId]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for sandbox in sandboxes {
        let record = place
            .server
            .data()
            .join("runtime/sandboxes")
            .join(sandbox.as_str());
        let record: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(record.join("init.json"))?)?;
        let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", record["pid"]))?;
        let own = smaps
            .lines()
            .filter(|line| line.starts_with("Private_"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        sum += own.sum::<u64>() << 10;
    }
    Ok(sum / COUNT)
}
