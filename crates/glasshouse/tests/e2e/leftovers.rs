//! Twenty sandboxes at once, and nothing of them afterwards.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;
use glass_testing::TestServer;
use serde_json::json;

use crate::harness::server;

/// The kernel objects and files that sandboxes are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World {
    mounts: BTreeSet<String>,
    namespaces: usize,
    processes: usize,
    files: BTreeSet<String>,
    sockets: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_come_and_go_without_a_trace() -> anyhow::Result<()> {
    let server = server().await?;
    // The first sandbox makes what all share (the parent cgroup, say), and that may stay.
    let first = server.sandbox(json!({})).await?;
    remove(&server, &first).await?;
    let before = world(&server)?;

    let made = futures::future::join_all((0..20).map(|_| server.sandbox(json!({})))).await;
    let made: Vec<String> = made.into_iter().collect::<anyhow::Result<_>>()?;
    ensure!(
        made.iter().collect::<BTreeSet<_>>().len() == 20,
        "an id came twice"
    );
    let answers =
        futures::future::join_all(made.iter().map(|id| server.exec(id, "hostname && id -u"))).await;
    for (id, answer) in made.iter().zip(answers) {
        let (code, printed) = answer?;
        ensure!(
            code == 0 && printed.trim() == format!("{id}\n1000"),
            "{id}: {printed}"
        );
    }
    let meanwhile = world(&server)?;
    ensure!(
        meanwhile.processes >= 20 && meanwhile.namespaces > before.namespaces,
        "{meanwhile:#?}: the count below would prove nothing"
    );
    for id in &made {
        ensure!(
            !processes_of(id)?.is_empty(),
            "{id} has no process: the count below would prove nothing"
        );
        ensure!(
            !cgroups_of(id)?.is_empty(),
            "{id} has no control group: the count below would prove nothing"
        );
    }

    let removed = futures::future::join_all(made.iter().map(|id| remove(&server, id))).await;
    removed.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    for id in &made {
        ensure!(processes_of(id)?.is_empty(), "{id} has left processes");
        let cgroups = cgroups_of(id)?;
        ensure!(cgroups.is_empty(), "{id} has left {cgroups:?}");
    }
    let after = world(&server)?;
    ensure!(after == before, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}

pub(crate) async fn remove(server: &TestServer, id: &str) -> anyhow::Result<()> {
    let (status, answer) = server
        .api("DELETE", &format!("/v1/sandboxes/{id}"), None)
        .await?;
    ensure!(status == 204, "{status}: {answer}");
    let (status, _) = server
        .api("GET", &format!("/v1/sandboxes/{id}"), None)
        .await?;
    ensure!(status == 404, "still there: {status}");
    Ok(())
}

/// Host pids of the processes whose cgroup or host name is this sandbox's.
pub(crate) fn processes_of(sandbox: &str) -> anyhow::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end while it is looked at.
        let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if cgroup.contains(sandbox) && !is_dead(&entry.path()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Whether all that is left of a process is its exit status, which the host's init has not fetched yet.
fn is_dead(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

pub(crate) fn world(server: &TestServer) -> anyhow::Result<World> {
    let data = server.data().canonicalize()?;
    let marker = data.display().to_string();
    let (mut mounts, mut namespaces, mut processes) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in std::fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .filter(|line| line.contains(&marker))
    {
        mounts.insert(
            line.split(' ')
                .skip(3)
                .take(2)
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    for entry in std::fs::read_dir("/proc")?.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_none_or(|name| name.parse::<u32>().is_err())
        {
            continue;
        }
        let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if !cgroup.contains("/glasshouse/") || !has_files_of(&entry.path(), &data) {
            continue;
        }
        processes += 1;
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            if let Ok(name) = std::fs::read_link(entry.path().join("ns").join(kind)) {
                namespaces.insert(name);
            }
        }
    }
    let mut files = BTreeSet::new();
    collect(&data.join("runtime"), &mut files)?;
    let sockets = std::fs::read_to_string("/proc/net/unix")?
        .lines()
        .filter(|line| line.contains(&marker))
        .count();
    Ok(World {
        mounts,
        namespaces: namespaces.len(),
        processes,
        files,
        sockets,
    })
}

/// Whether files of a data directory are mounted for a process. Where it is mounted says nothing: the launcher of any
/// other sandbox begins with all mounts of the host.
fn has_files_of(process: &Path, data: &Path) -> bool {
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let mounts = std::fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(3))
        .any(|root| root.contains(&*name))
}

fn collect(directory: &Path, names: &mut BTreeSet<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)?.flatten() {
        names.insert(entry.path().display().to_string());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), names)?;
        }
    }
    Ok(())
}

/// Control groups of a sandbox, in every hierarchy.
pub(crate) fn cgroups_of(sandbox: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    collect_cgroups(Path::new("/sys/fs/cgroup"), sandbox, &mut names, 0)?;
    Ok(names)
}

fn collect_cgroups(
    directory: &Path,
    sandbox: &str,
    names: &mut BTreeSet<String>,
    depth: usize,
) -> anyhow::Result<()> {
    // Another test's may vanish while they are listed.
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if depth > 4 || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.path().display().to_string().contains(sandbox) {
            names.insert(entry.path().display().to_string());
        }
        collect_cgroups(&entry.path(), sandbox, names, depth + 1)?;
    }
    Ok(())
}
