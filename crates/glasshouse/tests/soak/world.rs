//! The world as the kernel and the files tell it, beside the rows as the API does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::ensure;
use glass_runtime::native::{NativeConfig, NativeRuntime};
use glass_runtime::{Activity, Runtime};

/// What a row says must be so. The server is down, so nothing changes while this looks.
pub(crate) async fn equals(
    data: &Path,
    rows: &BTreeMap<String, String>,
    snapshots: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let runtime = NativeRuntime::new(NativeConfig {
        state_dir: data.join("runtime"),
    })?;
    let mut world: BTreeMap<String, Activity> = runtime
        .list()
        .await?
        .into_iter()
        .map(|status| (status.id.to_string(), status.activity))
        .collect();
    for (id, state) in rows {
        let activity = world.remove(id);
        let expected = match state.as_str() {
            "running" => Some(Activity::Running),
            "frozen" => Some(Activity::Frozen),
            "stopped" => Some(Activity::Stopped),
            other => anyhow::bail!("{id} is {other} after all came to rest"),
        };
        ensure!(
            activity == expected,
            "{id}: the row says {state}, the world {activity:?}"
        );
    }
    ensure!(world.is_empty(), "no row knows {world:?}");
    if let Some(ability) = runtime.snapshots() {
        let found: BTreeSet<String> = ability
            .list()
            .await?
            .into_iter()
            .map(|status| status.id.to_string())
            .collect();
        ensure!(
            found == *snapshots,
            "snapshots: {found:?}, rows: {snapshots:?}"
        );
    }
    Ok(())
}

/// What there is of sandboxes in files, mounts, loop devices, control groups and processes.
pub(crate) fn leftovers(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for place in [
        "sandboxes",
        "users",
        "pool/sandboxes",
        "pool/snapshots",
        "snapshots",
    ] {
        for entry in std::fs::read_dir(data.join("runtime").join(place))
            .into_iter()
            .flatten()
        {
            found.push(entry?.path().display().to_string());
        }
    }
    let marker = data.canonicalize()?.display().to_string();
    let is_pool = |line: &str| line.contains("/pool");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&marker) && !is_pool(line))
            .map(|line| format!("mount {line}")),
    );
    for device in std::fs::read_dir("/sys/block")?.flatten() {
        let backing = device.path().join("loop/backing_file");
        let backing = std::fs::read_to_string(backing).unwrap_or_default();
        let is_disk = backing.contains(&marker) && backing.contains("/disk");
        if is_disk {
            found.push(format!("loop device of {}", backing.trim()));
        }
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let mounted = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        if mounted.contains(&marker) && groups.contains("/glasshouse/") {
            found.push(format!("process {}", process.path().display()));
        }
    }
    Ok(found)
}
