//! Twenty sandboxes at once come up, and nothing of them is left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use glass_runtime::Activity;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Kind, World, mounts};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_leave_nothing() {
    World::run(Kind::Native, async |world| {
        // The first sandbox of a size leaves the template of its disk for the others.
        let first = world.up().await;
        world.runtime.destroy(&first.id).await.unwrap();
        let before = files(world.dir.path());
        let sandboxes = join_all((0..20).map(|_| world.up())).await;
        let running: BTreeSet<PathBuf> = namespaces();
        let ids: Vec<&str> = sandboxes.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(cgroups(&ids).len() % 20, 0);
        assert!(!cgroups(&ids).is_empty());
        let inits: Vec<PathBuf> = ids.iter().map(|id| network_of(world, id)).collect();
        assert!(inits.iter().all(|init| running.contains(init)));
        // The host's mount table shows none of them, even while they run; only the pool of their disks.
        let pools = usize::from(world.dir.path().join("state/pool.xfs").exists());
        assert_eq!(mounts(world.dir.path()), pools);
        join_all(sandboxes.iter().map(|s| async {
            world.runtime.destroy(&s.id).await.unwrap();
        }))
        .await;
        assert_eq!(cgroups(&ids), BTreeSet::new());
        assert_eq!(mounts(world.dir.path()), pools);
        let left = namespaces();
        assert!(inits.iter().all(|init| !left.contains(init)));
        assert_eq!(loops(world.dir.path()), pools);
        assert_eq!(files(world.dir.path()), before);
        let names = ids.iter().filter(|id| mentioned(id)).count();
        assert_eq!(names, 0, "processes are left");
    })
    .await;
}

/// Whoever gives up a destroy, or is killed in it, can do it again, and then nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_destroy_that_was_cut_off_is_done_again() {
    World::run(Kind::Native, async |world| {
        let first = world.up().await;
        world.runtime.destroy(&first.id).await.unwrap();
        let before = files(world.dir.path());
        for micros in (0..8000).step_by(100) {
            let spec = world.spec();
            world.runtime.create(&spec).await.unwrap();
            let destroy = world.runtime.destroy(&spec.id);
            drop(tokio::time::timeout(Duration::from_micros(micros), destroy).await);
            world.runtime.destroy(&spec.id).await.unwrap();
            assert_eq!(files(world.dir.path()), before, "after {micros} µs");
        }
    })
    .await;
}

/// A server that is killed before it has tidied up leaves that to the next.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_sandbox_has_left_is_told_and_goes_with_a_stop() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        let dir = world
            .dir
            .path()
            .join("state/sandboxes")
            .join(sandbox.id.as_str());
        let text = std::fs::read_to_string(dir.join("init.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        let init = i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(init).unwrap(), Signal::KILL).unwrap();
        world.runtime.exited(&sandbox.id).await.unwrap();
        let activity = async || world.runtime.list().await.unwrap()[0].activity;
        assert_eq!(activity().await, Activity::Ended);
        assert!(!cgroups(&[sandbox.id.as_str()]).is_empty());
        world
            .runtime
            .stop(&sandbox.id, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(activity().await, Activity::Stopped);
        assert!(cgroups(&[sandbox.id.as_str()]).is_empty());
        assert!(!dir.join("guest.sock").exists());
        world.runtime.destroy(&sandbox.id).await.unwrap();
    })
    .await;
}

/// Servers before this one forgot a claim when they were killed at the wrong moment.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_gives_back_the_user_ids_of_nobody() {
    World::run(Kind::Native, async |world| {
        let (gone, kept) = (world.spec(), world.up().await);
        world.runtime.create(&gone).await.unwrap();
        let state = world.dir.path().join("state");
        let sandbox = state.join("sandboxes").join(gone.id.as_str());
        std::fs::remove_dir_all(sandbox).unwrap();
        let claims = || std::fs::read_dir(state.join("users")).unwrap().count();
        assert_eq!(claims(), 2);
        world.reopen().await;
        assert_eq!(claims(), 1);
        world.runtime.destroy(&gone.id).await.unwrap();
        world.runtime.destroy(&kept.id).await.unwrap();
        assert_eq!(claims(), 0);
    })
    .await;
}

/// The network namespace of a sandbox, as a link names it.
fn network_of(world: &World, id: &str) -> PathBuf {
    let record = world.dir.path().join("state/sandboxes").join(id);
    let text = std::fs::read_to_string(record.join("init.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    std::fs::read_link(format!("/proc/{}/ns/net", record["pid"])).unwrap()
}

/// All network namespaces in which some process lives.
fn namespaces() -> BTreeSet<PathBuf> {
    processes()
        .filter_map(|dir| std::fs::read_link(dir.join("ns/net")).ok())
        .collect()
}

/// Whether a process has the id in its environment or its arguments.
fn mentioned(id: &str) -> bool {
    let me = std::process::id().to_string();
    processes().filter(|dir| !dir.ends_with(&me)).any(|dir| {
        ["environ", "cmdline"].iter().any(|name| {
            let text = std::fs::read(dir.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(id)
        })
    })
}

fn processes() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("ns").exists())
}

/// Loop devices that have a file below the directory.
fn loops(dir: &Path) -> usize {
    std::fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|file| Path::new(file.trim_end()).starts_with(dir))
        .count()
}

fn cgroups(ids: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for line in table.lines() {
        let mut fields = line.split(' ');
        let (mount, kind) = (fields.nth(1).unwrap(), fields.next().unwrap());
        if !kind.starts_with("cgroup") {
            continue;
        }
        for id in ids {
            let dir = Path::new(mount).join("glasshouse").join(id);
            if dir.exists() {
                found.insert(dir);
            }
        }
    }
    found
}

/// All files below a directory.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}
