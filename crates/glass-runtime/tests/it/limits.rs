//! A sandbox that takes all it can get leaves the others working.

use std::path::Path;
use std::time::Duration;

use glass_runtime::DiskFiles;
use glass_types::Limits;

use crate::world::{Kind, Sandbox, World, text};

#[tokio::test]
async fn the_kernel_holds_a_sandbox_to_every_limit() {
    World::run(Kind::Native, async |world| {
        let mut spec = world.spec();
        spec.limits = Limits {
            memory_bytes: 64 << 20,
            cpu_millis: 1500,
            pids: 70,
            cpu_weight: 50,
            open_files: 300,
            ..spec.limits
        };
        let sandbox = world.up_with(spec).await;
        let read = |file: &str| held_to(&sandbox, file);
        assert_eq!(read("pids.max").as_deref(), Some("70"));
        // Files of version 2 have values where version 1 is not in charge, and the other way round.
        let memory = read("memory.max").or_else(|| read("memory.limit_in_bytes"));
        assert_eq!(memory.as_deref(), Some("67108864"));
        let cpu = read("cpu.max").or_else(|| {
            let (quota, period) = (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?);
            Some(format!("{quota} {period}"))
        });
        assert_eq!(cpu.as_deref(), Some("150000 100000"));
        let share = read("cpu.weight").or_else(|| read("cpu.shares"));
        assert!(matches!(share.as_deref(), Some("50" | "512")), "{share:?}");
        let files = sandbox
            .shell("ulimit -Sn; ulimit -Hn; ulimit -Hn 301")
            .await;
        assert_eq!(text(&files), "300\n300\n", "{files:?}");
        assert_ne!(files.exit_code, 0, "it raised its own limit");
        // A kernel may be without swap, and then has neither file.
        if let Some(swap) = read("memory.swap.max") {
            assert_eq!(swap, "0");
        } else if let Some(both) = read("memory.memsw.limit_in_bytes") {
            assert_eq!(both, "67108864");
        }
    })
    .await;
}

#[tokio::test]
async fn memory_of_a_frozen_sandbox_is_given_back() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        let filled = sandbox
            .shell("busybox dd if=/dev/urandom of=/home/dev/big bs=1M count=64 && busybox sync && busybox md5sum ~/big")
            .await;
        let before = text(&filled);
        assert_eq!(filled.exit_code, 0, "{filled:?}");
        assert_eq!(world.runtime.reclaim(&sandbox.id).await.unwrap(), 0, "it runs");
        world.runtime.freeze(&sandbox.id).await.unwrap();
        let used = world.runtime.stats(&sandbox.id).await.unwrap().memory_bytes;
        let given = world.runtime.reclaim(&sandbox.id).await.unwrap();
        let left = world.runtime.stats(&sandbox.id).await.unwrap().memory_bytes;
        assert!(given >= 48 << 20, "{given} of {used} came back");
        assert!(left <= used - (48 << 20), "{left} of {used} is left");
        world.runtime.thaw(&sandbox.id).await.unwrap();
        let after = sandbox.shell("busybox md5sum ~/big").await;
        assert_eq!(text(&after), before);
        world.runtime.stop(&sandbox.id, Duration::ZERO).await.unwrap();
        assert_eq!(world.runtime.reclaim(&sandbox.id).await.unwrap(), 0);
    })
    .await;
}

/// What a file says in that control group of the sandbox that has it. Its init is a member, or the limit is nobody's.
fn held_to(sandbox: &Sandbox, file: &str) -> Option<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mut groups = table.lines().filter_map(|line| {
        let mount = line.split(' ').nth(1)?;
        let group = Path::new(mount)
            .join("glasshouse")
            .join(sandbox.id.as_str());
        group.join(file).exists().then_some(group)
    });
    let group = groups.next()?;
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert!(!members.is_empty(), "{} is empty", group.display());
    let value = std::fs::read_to_string(group.join(file)).unwrap();
    Some(value.trim().to_owned())
}

#[tokio::test]
async fn a_fork_bomb_is_held() {
    World::run(Kind::Native, async |world| {
        let other = world.up().await;
        let sandbox = world.up().await;
        sandbox
            .background("bomb() { bomb | bomb & }; while :; do bomb; done")
            .await;
        let pids = usize::try_from(sandbox.spec.limits.pids).unwrap();
        for _ in 0..20 {
            let used = world.runtime.stats(&sandbox.id).await.unwrap().pids;
            assert!(usize::try_from(used).unwrap() <= pids);
            assert_eq!(other.shell("exit 3").await.exit_code, 3);
        }
        let destroyed = world.runtime.destroy(&sandbox.id);
        tokio::time::timeout(Duration::from_secs(20), destroyed)
            .await
            .expect("in time")
            .unwrap();
        other.guest.health().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_memory_hog_is_killed() {
    World::run(Kind::Native, async |world| {
        let other = world.up().await;
        let mut spec = world.spec();
        spec.limits = Limits {
            memory_bytes: 64 << 20,
            ..spec.limits
        };
        let sandbox = world.up_with(spec).await;
        let output = sandbox
            .shell("x=0123456789; while :; do x=$x$x; done")
            .await;
        assert_ne!(output.exit_code, 0);
        let used = world.runtime.stats(&sandbox.id).await.unwrap().memory_bytes;
        assert!(used <= 64 << 20, "{used}");
        sandbox.guest.health().await.unwrap();
        assert_eq!(other.shell("exit 3").await.exit_code, 3);
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_the_own_one() {
    World::run(Kind::Native, async |world| {
        let other = world.up().await;
        let mut spec = world.spec();
        spec.limits.disk_bytes = 64 << 20;
        let sandbox = world.up_with(spec).await;
        let output = sandbox
            .shell("echo kept > ~/kept; busybox dd if=/dev/zero of=/home/dev/big bs=65536")
            .await;
        assert_ne!(output.exit_code, 0, "it wrote all it wanted");
        let size = sandbox.shell("busybox stat -c %s ~/big").await;
        let size: u64 = text(&size).trim().parse().unwrap();
        assert!(size < 64 << 20, "{size}");
        assert_eq!(other.shell("echo fine > ~/file").await.exit_code, 0);
        world
            .runtime
            .stop(&sandbox.id, Duration::from_secs(5))
            .await
            .unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        assert_eq!(text(&sandbox.shell("cat ~/kept").await), "kept\n");
    })
    .await;
}

#[tokio::test]
async fn taken_inodes_do_not_keep_a_sandbox_down() {
    World::run(Kind::Native, async |world| {
        let mut spec = world.spec();
        spec.limits.disk_bytes = 32 << 20;
        let sandbox = world.up_with(spec).await;
        let full = sandbox
            .shell(
                "cd ~ && mkdir many && cd many && i=0 && while echo > $i; do i=$((i+1)); done 2>&1",
            )
            .await;
        assert!(text(&full).contains("No space left"), "{full:?}");
        world
            .runtime
            .stop(&sandbox.id, Duration::from_secs(5))
            .await
            .unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        let freed = sandbox
            .shell("busybox rm -rf ~/many && echo fine > ~/file")
            .await;
        assert_eq!(freed.exit_code, 0, "{freed:?}");
    })
    .await;
}

#[tokio::test]
async fn a_broken_disk_is_an_error_that_says_so() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        world
            .runtime
            .stop(&sandbox.id, Duration::from_secs(5))
            .await
            .unwrap();
        let Some(DiskFiles::Image(image)) = world.runtime.disk(&sandbox.id).await.unwrap() else {
            panic!("it has no disk");
        };
        let file = std::fs::File::options().write(true).open(&image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 8192], 0).unwrap();
        drop(file);
        // More than once: which of init and launcher is first is a matter of luck.
        for _ in 0..10 {
            let error = world.runtime.start(&sandbox.spec).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("mount the disk image"), "{text}");
        }
        world.runtime.destroy(&sandbox.id).await.unwrap();
        assert!(!image.exists());
    })
    .await;
}

#[tokio::test]
async fn a_disk_whose_sandbox_was_killed_in_the_middle_is_mounted_again() {
    World::run(Kind::Native, async |world| {
        let sandbox = world.up().await;
        sandbox.shell("echo kept > ~/kept; busybox sync").await;
        for _ in 0..3 {
            sandbox
                .background("while :; do i=0; while [ $i -lt 300 ]; do echo $i > ~/f$i; i=$((i+1)); done; busybox rm ~/f*; done")
                .await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            world
                .runtime
                .stop(&sandbox.id, Duration::ZERO)
                .await
                .unwrap();
            world.runtime.start(&sandbox.spec).await.unwrap();
            assert_eq!(text(&sandbox.shell("cat ~/kept").await), "kept\n");
        }
    })
    .await;
}
