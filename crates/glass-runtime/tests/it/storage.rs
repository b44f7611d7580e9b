//! Where the disks of native sandboxes lie: the pool, the host below it, and sizes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use glass_runtime::{DiskFiles, RuntimeError, SandboxSpec};
use glass_types::SnapshotId;

use crate::world::{Kind, Sandbox, World, mounts, text};

const GRACE: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

async fn take(world: &World, sandbox: &Sandbox) -> SnapshotId {
    let id = SnapshotId::random();
    let snapshots = world.runtime.snapshots().unwrap();
    snapshots.take(&sandbox.id, &id).await.unwrap();
    id
}

fn sized(world: &World, bytes: u64, from: Option<&SnapshotId>) -> SandboxSpec {
    let mut spec = world.spec();
    spec.limits.disk_bytes = bytes;
    spec.from = from.cloned();
    spec
}

/// Writes until it may not, and says how many bytes of it are there.
async fn fill(sandbox: &Sandbox, file: &str) -> u64 {
    let script = format!(
        "busybox dd if=/dev/zero of=$HOME/{file} bs=65536 2>/dev/null; busybox stat -c %s $HOME/{file}"
    );
    text(&sandbox.shell(&script).await).trim().parse().unwrap()
}

async fn write(sandbox: &Sandbox) -> i32 {
    sandbox.shell("echo written > ~/write").await.exit_code
}

#[tokio::test]
async fn a_fork_has_a_limit_of_its_own() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(sized(world, 64 * MIB, None)).await;
        sandbox.shell("echo kept > ~/kept").await;
        let snapshot = take(world, &sandbox).await;
        let same = world.up_with(sized(world, 64 * MIB, Some(&snapshot))).await;
        assert!(fill(&same, "big").await < 64 * MIB);
        // Beyond what one block of group descriptors covers, so that the file system has to change its form.
        let larger = sized(world, 20 << 30, Some(&snapshot));
        if !may_grow() {
            match world.runtime.create(&larger).await.unwrap_err() {
                RuntimeError::DiskCannotGrow { size, limit, .. } => {
                    assert_eq!((size, limit), (64 * MIB, 20 << 30));
                }
                error => panic!("{error}"),
            }
            return;
        }
        let large = world.up_with(larger).await;
        let blocks = large.shell("busybox df -k ~ | busybox tail -n 1 | busybox awk '{print $2}'").await;
        let kib: u64 = text(&blocks).trim().parse().unwrap();
        assert!(kib > 18 << 20, "{kib}");
        let written = large
            .shell("busybox dd if=/dev/urandom of=$HOME/big bs=1000000 count=200 && busybox sync && cat ~/kept && busybox md5sum ~/big > ~/sum")
            .await;
        assert!(text(&written).starts_with("kept\n"), "{written:?}");
        world.runtime.stop(&large.id, GRACE).await.unwrap();
        world.runtime.start(&large.spec).await.unwrap();
        assert_eq!(large.shell("busybox md5sum -c ~/sum").await.exit_code, 0);
        let used = world.runtime.stats(&large.id).await.unwrap().disk_bytes;
        assert!(used.is_some_and(|bytes| bytes > 200_000_000 && bytes < 1 << 30), "{used:?}");
    })
    .await;
}

#[tokio::test]
async fn sandboxes_of_an_image_begin_with_one_prepared_disk() {
    World::run(Kind::Native, async |world| {
        let state = world.dir.path().join("state");
        let templates = ["pool/disks", "disks"].map(|name| state.join(name));
        let templates = templates.iter().find(|path| path.exists()).unwrap();
        let prepared = || {
            std::fs::read_dir(templates)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.starts_with("image-"))
                .collect::<Vec<_>>()
        };
        let first = world.up().await;
        let made = prepared();
        assert_eq!(made.len(), 1, "{made:?}");
        let second = world.up().await;
        assert_eq!(prepared(), made);
        for sandbox in [&first, &second] {
            let told = sandbox
                .shell("cat ~/.profile /etc/hostname /etc/hosts; busybox stat -c '%u %a' ~/.profile ~/workspace")
                .await;
            let id = &sandbox.id;
            let expected = format!("# from the image\n{id}\n127.0.0.1 localhost {id}\n::1 localhost ip6-localhost ip6-loopback\n1000 644\n1000 755\n");
            assert_eq!(text(&told), expected, "{told:?}");
        }
        // Another image is another disk.
        let other = world.dir.path().join("other");
        std::fs::create_dir_all(other.join("home/dev")).unwrap();
        std::fs::create_dir(other.join("scratch")).unwrap();
        let anybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(other.join("scratch"), anybody).unwrap();
        std::fs::write(other.join("home/dev/more"), "").unwrap();
        let mut spec = world.spec();
        spec.layers.push(other);
        let third = world.up_with(spec).await;
        assert_eq!(third.shell("ls ~/more").await.exit_code, 0);
        assert_eq!(prepared().len(), 2);
        // The root is thrown away, also the one that was prepared.
        for _ in 0..2 {
            let written = third.shell("ls /scratch; touch /scratch/x").await;
            assert_eq!((written.exit_code, text(&written)), (0, String::new()));
            world.runtime.stop(&third.id, GRACE).await.unwrap();
            world.runtime.start(&third.spec).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_limit_below_the_snapshot_is_refused() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up_with(sized(world, 128 * MIB, None)).await;
        let snapshot = take(world, &sandbox).await;
        let spec = sized(world, 64 * MIB, Some(&snapshot));
        match world.runtime.create(&spec).await {
            Err(e @ RuntimeError::DiskTooSmall { .. }) => {
                assert!(
                    e.to_string().contains("128 MiB, and the limit is 64 MiB"),
                    "{e}"
                );
            }
            other => panic!("{other:?}"),
        }
        world.runtime.destroy(&spec.id).await.unwrap();
        let small = world.up_with(sized(world, 64 * MIB, None)).await;
        world.runtime.stop(&small.id, GRACE).await.unwrap();
        let restored = world
            .runtime
            .snapshots()
            .unwrap()
            .restore(&small.id, &snapshot)
            .await;
        assert!(
            matches!(restored, Err(RuntimeError::DiskTooSmall { .. })),
            "{restored:?}"
        );
        world.runtime.start(&small.spec).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_sandbox_goes_on_when_its_snapshot_is_given_up() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        for millis in [0, 1, 2, 3, 5, 8, 13, 30] {
            let id = SnapshotId::random();
            let taking = world.runtime.snapshots().unwrap().take(&sandbox.id, &id);
            drop(tokio::time::timeout(Duration::from_millis(millis), taking).await);
            assert_eq!(write(&sandbox).await, 0);
        }
        take(world, &sandbox).await;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_keeper_left_frozen_is_thawed() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        let dir = world
            .dir
            .path()
            .join("state/sandboxes")
            .join(sandbox.id.as_str());
        let record = std::fs::read_to_string(dir.join("init.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let home = format!("/proc/{}/root/home/dev", record["pid"]);
        for by_the_next_server in [true, false] {
            std::fs::write(dir.join("still"), "").unwrap();
            run(Command::new("fsfreeze").args(["-f", &home]));
            let writing = write(&sandbox);
            tokio::pin!(writing);
            let early = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
            assert!(early.is_err(), "it could write");
            if by_the_next_server {
                world.reopen().await;
            } else {
                take(world, &sandbox).await;
            }
            let late = tokio::time::timeout(Duration::from_secs(20), &mut writing).await;
            if late.is_err() {
                // Nothing of this test may stay frozen.
                run(Command::new("fsfreeze").args(["-u", &home]));
            }
            assert_eq!(late, Ok(0));
            assert!(!dir.join("still").exists());
        }
        // Its init may be gone by then, and the frozen file system with the device still there.
        std::fs::write(dir.join("still"), "").unwrap();
        run(Command::new("fsfreeze").args(["-f", &home]));
        run(Command::new("kill").args(["-9", &record["pid"].to_string()]));
        world.runtime.exited(&sandbox.id).await.unwrap();
        world.reopen().await;
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/write").await), "written\n");
    })
    .await;
}

#[tokio::test]
async fn the_pool_is_mounted_once_and_found_again() {
    World::run(Kind::Native, async |world| {
        let state = world.dir.path().join("state");
        if !state.join("pool.xfs").exists() {
            // This host shares blocks by itself.
            return;
        }
        let sandbox = world.up().await;
        let next = world.reopen().await;
        assert_eq!(mounts(world.dir.path()), 1);
        drop(next);
        assert_eq!(mounts(world.dir.path()), 1);
        // As if somebody had unmounted it below a sandbox that runs: the same device is mounted again.
        run(Command::new("umount").arg("-l").arg(state.join("pool")));
        assert_eq!(mounts(world.dir.path()), 0);
        // Another process, for this one has it open.
        mount_in_another_process(&state);
        assert_eq!(mounts(world.dir.path()), 1);
        sandbox.shell("echo more > ~/more").await;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/more").await), "more\n");
    })
    .await;
}

/// Opens a runtime over the directory in a process that is killed at once, as a server would be.
fn mount_in_another_process(state: &Path) {
    let me = std::env::current_exe().unwrap();
    let status = Command::new(me)
        .args(["--exact", "storage::opens_and_dies", "--ignored"])
        .env("GLASSHOUSE_TEST_STATE", state)
        .output()
        .unwrap()
        .status;
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
}

/// The other process of [`mount_in_another_process`].
#[tokio::test]
#[ignore = "it is run by another test"]
async fn opens_and_dies() {
    let state_dir = PathBuf::from(std::env::var_os("GLASSHOUSE_TEST_STATE").unwrap());
    let config = glass_runtime::native::NativeConfig { state_dir };
    let _runtime = glass_runtime::native::NativeRuntime::new(config).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_disk_from_before_the_pool_goes_on_and_moves_when_it_is_put_back() {
    World::run(Kind::Native, async |world| {
        let state = world.dir.path().join("state");
        let sandbox = world.up().await;
        sandbox.shell("echo old > ~/file").await;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        let Some(DiskFiles::Image(image)) = world.runtime.disk(&sandbox.id).await.unwrap() else {
            panic!("it has no disk");
        };
        let dir = state.join("sandboxes").join(sandbox.id.as_str());
        let old = dir.join("disk.img");
        if image == old {
            return;
        }
        // As the version before made it.
        run(Command::new("cp")
            .arg("--sparse=always")
            .args([&image, &old]));
        std::fs::remove_file(&image).unwrap();
        let record = std::fs::read_to_string(dir.join("sandbox.json")).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record.as_object_mut().unwrap().remove("pooled").unwrap();
        std::fs::write(dir.join("sandbox.json"), record.to_string()).unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/file").await), "old\n");
        let snapshot = take(world, &sandbox).await;
        sandbox.shell("echo new > ~/file").await;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        let snapshots = world.runtime.snapshots().unwrap();
        snapshots.restore(&sandbox.id, &snapshot).await.unwrap();
        assert!(image.exists() && !old.exists());
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/file").await), "old\n");
    })
    .await;
}

#[tokio::test]
async fn a_full_host_breaks_no_pool() {
    let host = SmallHost::new();
    World::run_in(Kind::Native, &host.dir, async |world| {
        let sandbox = world.up().await;
        let kept = "echo kept > ~/kept; busybox dd if=/dev/urandom of=$HOME/sure bs=1000000 count=20 && busybox md5sum ~/sure > ~/sum && busybox sync";
        assert_eq!(sandbox.shell(kept).await.exit_code, 0);
        let ballast = host.dir.join("ballast");
        let free = free_on(&host.dir);
        let length = (free - 150 * MIB).to_string();
        run(Command::new("fallocate").args(["-l", &length]).arg(&ballast));
        // Its own disk is larger than what the host has left.
        sandbox
            .shell("busybox dd if=/dev/urandom of=$HOME/big bs=1000000 count=400; busybox sync")
            .await;
        assert!(free_on(&host.dir) < 64 * MIB);
        let refused = world.runtime.create(&world.spec()).await.unwrap_err();
        assert!(refused.to_string().contains("is full"), "{refused}");
        let id = SnapshotId::random();
        let refused = world.runtime.snapshots().unwrap().take(&sandbox.id, &id).await.unwrap_err();
        let RuntimeError::Io { source, .. } = &refused else {
            panic!("{refused}");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        // With room again all is as it was when it was last flushed, and what is removed comes back to the host.
        std::fs::remove_file(&ballast).unwrap();
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        let checked = sandbox.shell("cat ~/kept && busybox md5sum -c ~/sum && echo fine > ~/fine").await;
        assert_eq!(checked.exit_code, 0, "{checked:?}");
        world.up().await;
        take(world, &sandbox).await;
    })
    .await;
}

/// Whether the host's root may grow a file system that is mounted.
fn may_grow() -> bool {
    let own = rustix::thread::capabilities(None).unwrap();
    own.effective
        .contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
}

fn free_on(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// A small ext4 file system of its own, as a host might have it.
struct SmallHost {
    dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallHost {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let (image, dir) = (parent.path().join("host.img"), parent.path().join("host"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::File::create_new(&image)
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg("-F").arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&dir));
        Self {
            dir,
            _parent: parent,
        }
    }
}

impl Drop for SmallHost {
    fn drop(&mut self) {
        // A test that failed may have left something in it.
        drop(Command::new("umount").arg("-l").arg(&self.dir).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
}
