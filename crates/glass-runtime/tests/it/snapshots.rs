//! What every runtime promises that can take snapshots.

use std::time::Duration;

use glass_runtime::{DiskFiles, RuntimeError, SandboxSpec, Snapshots};
use glass_types::{SandboxId, SnapshotId};

use crate::world::{Kind, Sandbox, World, text};

const GRACE: Duration = Duration::from_secs(5);

macro_rules! both {
    ($($name:ident)*) => {
        mod native {
            $(#[tokio::test]
            async fn $name() {
                crate::world::World::run(crate::world::Kind::Native, super::$name).await;
            })*
        }
        mod sim {
            $(#[tokio::test]
            async fn $name() {
                crate::world::World::run(crate::world::Kind::Sim, super::$name).await;
            })*
        }
    };
}

both! {
    a_snapshot_keeps_what_was_there
    a_fork_has_the_files_and_goes_its_own_way
    a_fork_of_a_fork_is_as_good
    what_the_guest_keeps_for_itself_is_not_for_forks
    a_frozen_sandbox_can_be_kept
    a_stopped_sandbox_can_be_kept
    a_writer_stands_still_for_the_instant
    a_sandbox_is_put_back
    a_running_sandbox_is_not_put_back
    forks_outlive_their_snapshot
    snapshots_outlive_their_sandbox_and_server
    every_operation_on_snapshots_may_be_repeated
    unknown_snapshots_are_named
    what_was_half_made_is_no_snapshot
    the_files_of_a_stopped_sandbox_are_found
}

fn snapshots(world: &World) -> &dyn Snapshots {
    world.runtime.snapshots().expect("it can")
}

async fn take(world: &World, sandbox: &SandboxId) -> SnapshotId {
    let id = SnapshotId::random();
    let status = snapshots(world).take(sandbox, &id).await.unwrap();
    assert_eq!(status.id, id);
    id
}

fn spec_from(world: &World, snapshot: &SnapshotId) -> SandboxSpec {
    SandboxSpec {
        from: Some(snapshot.clone()),
        ..world.spec()
    }
}

async fn fork(world: &World, snapshot: &SnapshotId) -> Sandbox {
    world.up_with(spec_from(world, snapshot)).await
}

async fn reads(sandbox: &Sandbox, path: &str) -> String {
    let output = sandbox.shell(&format!("cat {path}")).await;
    assert_eq!(output.exit_code, 0, "{output:?}");
    text(&output)
}

async fn a_snapshot_keeps_what_was_there(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo before > ~/file").await;
    let first = take(world, &sandbox.id).await;
    // No flush of its own is needed: what was written is kept, and what is written later is not.
    sandbox.shell("echo after > ~/file; busybox dd if=/dev/urandom of=$HOME/big bs=1000000 count=3; touch ~/later; mkdir ~/workspace/w; busybox cp ~/big ~/workspace/w/").await;
    let second = take(world, &sandbox.id).await;
    assert_eq!(
        reads(&fork(world, &first).await, "~/file").await,
        "before\n"
    );
    let forked = fork(world, &second).await;
    assert_eq!(reads(&forked, "~/file").await, "after\n");
    let mut statuses = snapshots(world).list().await.unwrap();
    statuses.sort_by_key(|status| status.bytes);
    let ids: Vec<_> = statuses.iter().map(|status| status.id.clone()).collect();
    assert_eq!(ids, [first, second]);
    let bytes: Vec<u64> = statuses.iter().map(|status| status.bytes).collect();
    if world.kind == Kind::Native {
        assert!(bytes[1] >= bytes[0] + 3_000_000, "{bytes:?}");
    }
}

async fn a_fork_has_the_files_and_goes_its_own_way(world: &World) {
    let sandbox = world.up().await;
    sandbox
        .shell("cd ~/workspace && mkdir -p a/b && echo x > a/b/c && busybox chmod 751 a && busybox ln -s a/b/c link")
        .await;
    let snapshot = take(world, &sandbox.id).await;
    let (one, two) = (fork(world, &snapshot).await, fork(world, &snapshot).await);
    for fork in [&one, &two] {
        let listed = fork
            .shell("cd ~/workspace && cat link && busybox stat -c '%a %U' a && echo own > own && ls -a ~")
            .await;
        assert_eq!(listed.exit_code, 0, "{listed:?}");
        assert!(text(&listed).starts_with("x\n751 "), "{listed:?}");
    }
    one.shell("echo one > ~/workspace/a/b/c").await;
    assert_eq!(reads(&two, "~/workspace/link").await, "x\n");
    assert_eq!(reads(&sandbox, "~/workspace/link").await, "x\n");
    assert_eq!(sandbox.shell("cat ~/workspace/own").await.exit_code, 1);
    // Its environment is its own, and it can be stopped and started.
    world.runtime.stop(&one.id, GRACE).await.unwrap();
    world.runtime.start(&one.spec).await.unwrap();
    assert_eq!(reads(&one, "~/workspace/link").await, "one\n");
}

async fn a_fork_of_a_fork_is_as_good(world: &World) {
    let mut sandbox = world.up().await;
    for generation in 0..3 {
        sandbox
            .shell(&format!("echo {generation} >> ~/generations"))
            .await;
        let snapshot = take(world, &sandbox.id).await;
        sandbox = fork(world, &snapshot).await;
    }
    assert_eq!(reads(&sandbox, "~/generations").await, "0\n1\n2\n");
}

async fn what_the_guest_keeps_for_itself_is_not_for_forks(world: &World) {
    let sandbox = world.up().await;
    start_agent(&sandbox).await;
    let snapshot = take(world, &sandbox.id).await;
    let forked = fork(world, &snapshot).await;
    assert_eq!(agents(&forked).await, 0);
    assert_eq!(agents(&sandbox).await, 1);
    // Put back, a sandbox keeps what was its own, and another gets nothing of it.
    for (one, count) in [(&sandbox, 1), (&forked, 0)] {
        world.runtime.stop(&one.id, GRACE).await.unwrap();
        snapshots(world).restore(&one.id, &snapshot).await.unwrap();
        world.runtime.start(&one.spec).await.unwrap();
        assert_eq!(agents(one).await, count);
    }
}

async fn start_agent(sandbox: &Sandbox) {
    let request = glass_guest_protocol::agent::AgentStart {
        key: "one".to_owned(),
        argv: vec!["sh".to_owned(), "-c".to_owned(), "exit".to_owned()],
        env: std::collections::BTreeMap::new(),
        cwd: None,
    };
    sandbox.guest.agent_start(&request).await.unwrap();
}

async fn agents(sandbox: &Sandbox) -> usize {
    sandbox.guest.agents().await.unwrap().len()
}

async fn a_frozen_sandbox_can_be_kept(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo here > ~/file").await;
    world.runtime.freeze(&sandbox.id).await.unwrap();
    let snapshot = take(world, &sandbox.id).await;
    assert_eq!(
        reads(&fork(world, &snapshot).await, "~/file").await,
        "here\n"
    );
    // It is as frozen as before, and thaws.
    let answer = tokio::time::timeout(Duration::from_millis(300), sandbox.guest.health()).await;
    assert!(answer.is_err(), "a frozen guest answered");
    world.runtime.thaw(&sandbox.id).await.unwrap();
    assert_eq!(sandbox.shell("echo more >> ~/file").await.exit_code, 0);
}

async fn a_stopped_sandbox_can_be_kept(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo here > ~/file").await;
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    let snapshot = take(world, &sandbox.id).await;
    assert_eq!(
        reads(&fork(world, &snapshot).await, "~/file").await,
        "here\n"
    );
    world.runtime.start(&sandbox.spec).await.unwrap();
    assert_eq!(reads(&sandbox, "~/file").await, "here\n");
}

async fn a_writer_stands_still_for_the_instant(world: &World) {
    let sandbox = world.up().await;
    sandbox
        .background(
            "cd ~ && i=0 && while :; do i=$((i+1)); echo $i >> first; echo $i >> second; done",
        )
        .await;
    let mut last = 0;
    for _ in 0..4 {
        // Until it has written since the last time.
        let script =
            format!("until [ \"$(busybox tail -n 1 ~/second)\" -gt {last} ]; do :; done 2>&1");
        assert_eq!(sandbox.shell(&script).await.exit_code, 0);
        let snapshot = take(world, &sandbox.id).await;
        let forked = fork(world, &snapshot).await;
        let counts = [
            reads(&forked, "~/first").await,
            reads(&forked, "~/second").await,
        ]
        .map(|text| {
            let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
            assert!(
                lines.iter().copied().eq(1..=lines.len()),
                "a gap or a repeat"
            );
            lines.len()
        });
        assert!(
            counts[0] == counts[1] || counts[0] == counts[1] + 1,
            "{counts:?}"
        );
        assert!(counts[1] > last, "{counts:?}");
        last = counts[1];
        world.runtime.destroy(&forked.id).await.unwrap();
    }
}

async fn a_sandbox_is_put_back(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo before > ~/file; mkdir ~/dir").await;
    let snapshot = take(world, &sandbox.id).await;
    for _ in 0..2 {
        sandbox
            .shell("echo after > ~/file; busybox rmdir ~/dir; echo more > ~/more")
            .await;
        world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
        snapshots(world)
            .restore(&sandbox.id, &snapshot)
            .await
            .unwrap();
        world.runtime.start(&sandbox.spec).await.unwrap();
        let listed = sandbox
            .shell("cat ~/file && ls -d ~/dir && cat ~/more")
            .await;
        assert!(text(&listed).starts_with("before\n"), "{listed:?}");
        assert_eq!(listed.exit_code, 1, "{listed:?}");
    }
}

async fn a_running_sandbox_is_not_put_back(world: &World) {
    let sandbox = world.up().await;
    let snapshot = take(world, &sandbox.id).await;
    for _ in 0..2 {
        match snapshots(world).restore(&sandbox.id, &snapshot).await {
            Err(RuntimeError::StillRunning(id)) => assert_eq!(id, sandbox.id),
            other => panic!("{other:?}"),
        }
        world.runtime.freeze(&sandbox.id).await.unwrap();
    }
}

async fn forks_outlive_their_snapshot(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo shared > ~/file").await;
    let snapshot = take(world, &sandbox.id).await;
    let forked = fork(world, &snapshot).await;
    snapshots(world).delete(&snapshot).await.unwrap();
    world.runtime.destroy(&sandbox.id).await.unwrap();
    assert_eq!(snapshots(world).list().await.unwrap(), []);
    world.runtime.stop(&forked.id, GRACE).await.unwrap();
    world.runtime.start(&forked.spec).await.unwrap();
    assert_eq!(reads(&forked, "~/file").await, "shared\n");
}

async fn snapshots_outlive_their_sandbox_and_server(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo kept > ~/file").await;
    let snapshot = take(world, &sandbox.id).await;
    world.runtime.destroy(&sandbox.id).await.unwrap();
    let next = world.reopen().await;
    let found = next.snapshots().unwrap().list().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, snapshot);
    assert!(found[0].bytes > 0);
    assert_eq!(
        reads(&fork(world, &snapshot).await, "~/file").await,
        "kept\n"
    );
}

async fn every_operation_on_snapshots_may_be_repeated(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo first > ~/file").await;
    let id = SnapshotId::random();
    let first = snapshots(world).take(&sandbox.id, &id).await.unwrap();
    sandbox.shell("echo second > ~/file").await;
    // It is there already, and stays what it was.
    assert_eq!(
        snapshots(world).take(&sandbox.id, &id).await.unwrap(),
        first
    );
    let spec = spec_from(world, &id);
    world.runtime.create(&spec).await.unwrap();
    let forked = world.up_with(spec).await;
    assert_eq!(reads(&forked, "~/file").await, "first\n");
    for _ in 0..2 {
        snapshots(world).delete(&id).await.unwrap();
    }
    // What exists does not need it any more.
    world.runtime.create(&forked.spec).await.unwrap();
}

async fn unknown_snapshots_are_named(world: &World) {
    let sandbox = world.up().await;
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    let id = SnapshotId::random();
    let named = |result: Result<(), RuntimeError>| match result {
        Err(RuntimeError::UnknownSnapshot(named)) => assert_eq!(named, id),
        other => panic!("{other:?}"),
    };
    named(snapshots(world).restore(&sandbox.id, &id).await);
    let spec = spec_from(world, &id);
    named(world.runtime.create(&spec).await);
    world.runtime.destroy(&spec.id).await.unwrap();
    let nobody = SandboxId::random();
    let known = take(world, &sandbox.id).await;
    let unknown = |result: Result<(), RuntimeError>| match result {
        Err(RuntimeError::Unknown(id)) => assert_eq!(id, nobody),
        other => panic!("{other:?}"),
    };
    unknown(snapshots(world).take(&nobody, &id).await.map(drop));
    unknown(snapshots(world).restore(&nobody, &known).await);
    unknown(world.runtime.disk(&nobody).await.map(drop));
}

async fn what_was_half_made_is_no_snapshot(world: &World) {
    let state = world.dir.path().join("state");
    let place = match world.kind {
        Kind::Native if state.join("pool.xfs").exists() => state.join("pool/snapshots"),
        Kind::Native | Kind::Gvisor | Kind::Sim | Kind::Docker => state.join("snapshots"),
    };
    let left = place.join(format!("{}.new", SnapshotId::random()));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(&left, "half").unwrap();
    assert_eq!(snapshots(world).list().await.unwrap(), []);
    world.reopen().await;
    assert!(!left.exists());
}

async fn the_files_of_a_stopped_sandbox_are_found(world: &World) {
    let sandbox = world.up().await;
    match world.runtime.disk(&sandbox.id).await {
        Err(RuntimeError::StillRunning(id)) => assert_eq!(id, sandbox.id),
        other => panic!("{other:?}"),
    }
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    match world.runtime.disk(&sandbox.id).await.unwrap().unwrap() {
        DiskFiles::Image(path) => assert!(path.is_file()),
        DiskFiles::Directory(path) => assert!(path.join("home/workspace").is_dir()),
    }
}
