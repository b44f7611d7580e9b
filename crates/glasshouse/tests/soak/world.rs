//! The world as the kernel and the files tell it, beside the rows as the API does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use glass_runtime::native::{NativeConfig, NativeRuntime};
use glass_runtime::{Activity, Runtime};

/// What a row says must be so, and nothing else may be. The server is down, so nothing changes while this looks.
pub(crate) async fn equals(
    data: &Path,
    rows: &BTreeMap<String, String>,
    snapshots: &BTreeSet<String>,
    seen: &BTreeSet<String>,
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
    let mut up = BTreeSet::new();
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
        if expected != Some(Activity::Stopped) {
            up.insert(id.clone());
        }
    }
    ensure!(world.is_empty(), "no row knows {world:?}");
    if let Some(ability) = runtime.snapshots() {
        let found: BTreeSet<String> = ability
            .list()
            .await?
            .into_iter()
            .map(|status| status.id.to_string())
            .collect();
        same("snapshots", &found, snapshots)?;
    }
    let all = rows.keys().cloned().collect();
    let runtime = data.join("runtime");
    same("user ids", &holders(&runtime)?, &all)?;
    same("disks", &disks(&runtime)?, &all)?;
    same(
        "sockets of guests",
        &with_file(&runtime, "guest.sock")?,
        &up,
    )?;
    same("inits", &with_file(&runtime, "init.json")?, &up)?;
    same(
        "frozen disks",
        &with_file(&runtime, "still")?,
        &BTreeSet::new(),
    )?;
    same("loop devices", &devices(seen)?, &up)?;
    for (mount, found) in groups(seen)? {
        same(&format!("control groups of {mount}"), &found, &up)?;
    }
    let members = members(seen)?;
    let with_processes = members.iter().map(|(id, _)| id.clone()).collect();
    same("processes", &with_processes, &up)?;
    let networks: BTreeSet<(String, PathBuf)> = members
        .into_iter()
        .filter_map(|(id, process)| Some((id, std::fs::read_link(process.join("ns/net")).ok()?)))
        .collect();
    ensure!(
        networks.len() == up.len(),
        "{} network namespaces of {} sandboxes",
        networks.len(),
        up.len()
    );
    Ok(())
}

fn same(what: &str, found: &BTreeSet<String>, expected: &BTreeSet<String>) -> anyhow::Result<()> {
    let more: Vec<_> = found.difference(expected).collect();
    let fewer: Vec<_> = expected.difference(found).collect();
    ensure!(
        more.is_empty() && fewer.is_empty(),
        "{what}: too many {more:?}, missing {fewer:?}"
    );
    Ok(())
}

/// What there is of sandboxes in files, mounts, loop devices, control groups and processes.
pub(crate) fn leftovers(data: &Path, seen: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for place in [
        "sandboxes",
        "users",
        "pool/sandboxes",
        "pool/snapshots",
        "snapshots",
    ] {
        for entry in names(&data.join("runtime").join(place))? {
            found.push(format!("{place}/{entry}"));
        }
    }
    let marker = data.canonicalize()?.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let is_pool = |line: &str| line.contains("/runtime/pool ");
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&marker) && !is_pool(line))
            .map(|line| format!("mount {line}")),
    );
    found.extend(
        devices(seen)?
            .iter()
            .map(|id| format!("loop device of {id}")),
    );
    for (mount, ids) in groups(seen)? {
        found.extend(
            ids.iter()
                .map(|id| format!("control group {id} of {mount}")),
        );
    }
    for (id, process) in members(seen)? {
        found.push(format!("process {} of {id}", process.display()));
    }
    Ok(found)
}

fn names(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Who has user ids. One that has two is told by the second of its claims.
fn holders(runtime: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut holders = BTreeSet::new();
    for name in names(&runtime.join("users"))? {
        let holder = std::fs::read_link(runtime.join("users").join(&name))?;
        let holder = holder.display().to_string();
        if !holders.insert(holder.clone()) {
            holders.insert(format!("{holder} again: {name}"));
        }
    }
    Ok(holders)
}

fn disks(runtime: &Path) -> anyhow::Result<BTreeSet<String>> {
    let pooled = names(&runtime.join("pool/sandboxes"))?;
    let pooled = pooled
        .into_iter()
        .map(|name| name.strip_suffix(".img").unwrap_or(&name).to_owned());
    Ok(pooled.chain(with_file(runtime, "disk.img")?).collect())
}

/// Those in whose directory there is this file.
fn with_file(runtime: &Path, file: &str) -> anyhow::Result<BTreeSet<String>> {
    let sandboxes = runtime.join("sandboxes");
    let mut ids = names(&sandboxes)?;
    ids.retain(|id| sandboxes.join(id).join(file).exists());
    Ok(ids.into_iter().collect())
}

/// Disks on loop devices, by their sandboxes. The kernel tells the path as the launcher saw it, in a place where the pool
/// may be mounted nowhere.
fn devices(seen: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for device in std::fs::read_dir("/sys/block")?.flatten() {
        let backing = device.path().join("loop/backing_file");
        let backing = std::fs::read_to_string(backing).unwrap_or_default();
        let parts = backing.trim_end().split('/');
        let mut ids = parts.map(|part| part.trim_end_matches(".img"));
        found.extend(ids.find(|id| seen.contains(*id)).map(str::to_owned));
    }
    Ok(found)
}

/// Which of these have a control group, in each hierarchy.
fn groups(seen: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string("/proc/self/mounts")?.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        let all = Path::new(mount).join("glasshouse");
        if kind.starts_with("cgroup") && all.is_dir() {
            let ids = seen.iter().filter(|id| all.join(id).exists());
            found.insert(mount.to_owned(), ids.cloned().collect());
        }
    }
    Ok(found)
}

/// The processes in their control groups.
pub(crate) fn members(seen: &BTreeSet<String>) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let id = groups
            .lines()
            .find_map(|line| line.split("/glasshouse/").nth(1));
        // What has ended and was not fetched yet is nothing.
        let is_there = process.path().join("exe").read_link().is_ok();
        if let Some(id) = id.filter(|id| is_there && seen.contains(*id)) {
            found.push((id.to_owned(), process.path()));
        }
    }
    Ok(found)
}
