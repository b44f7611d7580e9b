//! What every runtime promises.

use std::sync::Arc;
use std::time::Duration;

use glass_runtime::{Activity, GuestClient, RuntimeError};
use glass_types::{Isolation, SandboxId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Kind, World, shell, text};

const GRACE: Duration = Duration::from_secs(5);

macro_rules! all {
    ($($name:ident)*) => {
        mod native {
            $(#[tokio::test]
            async fn $name() {
                crate::world::World::run(crate::world::Kind::Native, super::$name).await;
            })*
        }
        mod gvisor {
            $(#[tokio::test]
            async fn $name() {
                crate::world::World::run(crate::world::Kind::Gvisor, super::$name).await;
            })*
        }
        mod docker {
            $(#[tokio::test]
            async fn $name() {
                crate::world::World::run(crate::world::Kind::Docker, super::$name).await;
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

all! {
    a_started_guest_answers
    programs_run_with_the_environment_of_the_spec
    files_of_the_home_survive_a_restart
    an_open_port_is_reached
    a_closed_port_is_named
    every_operation_may_be_repeated
    unknown_sandboxes_are_named
    a_tier_that_is_not_offered_is_refused_by_name
    two_sandboxes_live_at_once
    the_end_of_a_guest_is_noticed
    a_frozen_sandbox_waits
    the_next_server_finds_what_runs
    the_gateway_is_reached_and_bound_anew
    a_half_made_sandbox_can_be_destroyed
    a_cancelled_start_is_mended
}

async fn a_started_guest_answers(world: &World) {
    let sandbox = world.up().await;
    sandbox.guest.health().await.unwrap();
    assert!(world.runtime.stats(&sandbox.id).await.unwrap().pids >= 1);
}

async fn programs_run_with_the_environment_of_the_spec(world: &World) {
    let sandbox = world.up().await;
    let output = sandbox
        .shell("echo out $FROM_SPEC; echo bad >&2; exit 7")
        .await;
    assert_eq!(text(&output), "out yes\n");
    assert_eq!(output.stderr, b"bad\n");
    assert_eq!(output.exit_code, 7);
}

async fn files_of_the_home_survive_a_restart(world: &World) {
    let sandbox = world.up().await;
    sandbox.shell("echo kept > ~/file").await;
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    let guest = world.runtime.guest(&sandbox.id).await;
    assert!(matches!(guest, Err(RuntimeError::NotRunning(_))));
    world.runtime.start(&sandbox.spec).await.unwrap();
    assert_eq!(text(&sandbox.shell("cat ~/file").await), "kept\n");
}

async fn an_open_port_is_reached(world: &World) {
    let sandbox = world.up().await;
    let port = free_port();
    sandbox
        .background(&format!("echo hello | busybox nc -l -p {port}"))
        .await;
    let mut answer = String::new();
    let mut stream = sandbox.connect(port).await;
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello\n");
}

async fn a_closed_port_is_named(world: &World) {
    let sandbox = world.up().await;
    let wanted = free_port();
    match world.runtime.connect(&sandbox.id, wanted).await {
        Err(RuntimeError::PortClosed { id, port }) => {
            assert_eq!((id, port), (sandbox.id.clone(), wanted));
        }
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("something answered"),
    }
}

async fn every_operation_may_be_repeated(world: &World) {
    let spec = world.spec();
    for _ in 0..2 {
        world.runtime.create(&spec).await.unwrap();
    }
    for _ in 0..2 {
        world.runtime.start(&spec).await.unwrap();
    }
    for _ in 0..2 {
        world.runtime.stop(&spec.id, GRACE).await.unwrap();
        world.runtime.exited(&spec.id).await.unwrap();
    }
    for _ in 0..2 {
        world.runtime.destroy(&spec.id).await.unwrap();
    }
    assert_eq!(world.runtime.list().await.unwrap(), []);
}

async fn unknown_sandboxes_are_named(world: &World) {
    let spec = world.spec();
    let unknown = |result: Result<(), RuntimeError>| match result {
        Err(RuntimeError::Unknown(id)) => assert_eq!(id, spec.id),
        other => panic!("{other:?}"),
    };
    unknown(world.runtime.start(&spec).await);
    unknown(world.runtime.stop(&spec.id, GRACE).await);
    unknown(world.runtime.freeze(&spec.id).await);
    unknown(world.runtime.thaw(&spec.id).await);
    unknown(world.runtime.exited(&spec.id).await);
    unknown(world.runtime.connect(&spec.id, 80).await.map(drop));
    unknown(world.runtime.guest(&spec.id).await.map(drop));
    unknown(world.runtime.gateway(&spec.id).await.map(drop));
    unknown(world.runtime.stats(&spec.id).await.map(drop));
}

async fn two_sandboxes_live_at_once(world: &World) {
    let (one, two) = (world.up().await, world.up().await);
    one.shell("echo one > ~/name").await;
    two.shell("echo two > ~/name").await;
    assert_eq!(text(&one.shell("cat ~/name").await), "one\n");
    let mut ids: Vec<SandboxId> = Vec::new();
    for status in world.runtime.list().await.unwrap() {
        assert_eq!(status.activity, Activity::Running);
        ids.push(status.id);
    }
    ids.sort();
    let mut expected = vec![one.id.clone(), two.id.clone()];
    expected.sort();
    assert_eq!(ids, expected);
    world.runtime.destroy(&one.id).await.unwrap();
    two.guest.health().await.unwrap();
}

async fn the_end_of_a_guest_is_noticed(world: &World) {
    let sandbox = world.up().await;
    let runtime = Arc::clone(&world.runtime);
    let id = sandbox.id.clone();
    let waiting = tokio::spawn(async move { runtime.exited(&id).await });
    world.runtime.stop(&sandbox.id, GRACE).await.unwrap();
    waiting.await.unwrap().unwrap();
    let activity = world.runtime.list().await.unwrap()[0].activity;
    assert_eq!(activity, Activity::Stopped);
}

async fn a_frozen_sandbox_waits(world: &World) {
    let sandbox = world.up().await;
    world.runtime.freeze(&sandbox.id).await.unwrap();
    let activity = world.runtime.list().await.unwrap()[0].activity;
    assert_eq!(activity, Activity::Frozen);
    let answer = tokio::time::timeout(Duration::from_millis(300), sandbox.guest.health()).await;
    assert!(answer.is_err(), "a frozen guest answered");
    world.runtime.thaw(&sandbox.id).await.unwrap();
    sandbox.guest.health().await.unwrap();
    world.runtime.freeze(&sandbox.id).await.unwrap();
    // A start finds it and has it answer, whoever has frozen it.
    if world.kind == Kind::Native {
        world.runtime.start(&sandbox.spec).await.unwrap();
        world.runtime.freeze(&sandbox.id).await.unwrap();
    }
    world.runtime.destroy(&sandbox.id).await.unwrap();
}

async fn the_next_server_finds_what_runs(world: &World) {
    let sandbox = world.up().await;
    sandbox.background("sleep 1000").await;
    let next = world.reopen().await;
    let found = next.list().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].activity, Activity::Running);
    next.start(&sandbox.spec).await.unwrap();
    let guest = GuestClient::new(Arc::clone(&next), sandbox.id.clone());
    let output = shell(&guest, "busybox ps | busybox grep -c '[s]leep 1000'").await;
    assert_ne!(text(&output).trim(), "0", "it runs on: {output:?}");
    next.destroy(&sandbox.id).await.unwrap();
    world.runtime.exited(&sandbox.id).await.unwrap_err();
}

async fn the_gateway_is_reached_and_bound_anew(world: &World) {
    let sandbox = world.up().await;
    let port = sandbox.guest.info().await.unwrap().gateway_port;
    if world.kind != Kind::Sim {
        assert_eq!(port, sandbox.spec.gateway_port);
    }
    for word in ["first", "second"] {
        // The second time is another server's: it binds anew while the socket of the first is still there.
        let listener = world.reopen().await.gateway(&sandbox.id).await.unwrap();
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(word.as_bytes()).await.unwrap();
        });
        let output = sandbox
            .shell(&format!("busybox nc 127.0.0.1 {port} </dev/null"))
            .await;
        assert_eq!(text(&output), word, "{output:?}");
        serve.await.unwrap();
    }
}

/// Not even a sandbox whose row was made where the tier was there is brought up without it.
async fn a_tier_that_is_not_offered_is_refused_by_name(world: &World) {
    for isolation in Isolation::ALL {
        let offered = world.runtime.supports(isolation);
        assert!(offered.is_ok() || isolation != Isolation::Container);
        let Err(refusal) = offered else { continue };
        let RuntimeError::Unsupported { what, remedy } = &refusal else {
            panic!("{refusal}");
        };
        assert!(what.contains(isolation.as_str()), "{what}");
        assert!(!remedy.is_empty());
        let mut spec = world.spec();
        spec.isolation = isolation;
        let error = world.runtime.create(&spec).await.unwrap_err();
        assert_eq!(error.to_string(), refusal.to_string());
        assert_eq!(world.runtime.list().await.unwrap(), []);
        spec.isolation = Isolation::Container;
        world.runtime.create(&spec).await.unwrap();
        spec.isolation = isolation;
        let error = world.runtime.start(&spec).await.unwrap_err();
        assert_eq!(error.to_string(), refusal.to_string());
        world.runtime.destroy(&spec.id).await.unwrap();
    }
}

async fn a_half_made_sandbox_can_be_destroyed(world: &World) {
    let spec = world.spec();
    let dir = world
        .dir
        .path()
        .join("state/sandboxes")
        .join(spec.id.as_str());
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("init.json"), "{").unwrap();
    world.runtime.destroy(&spec.id).await.unwrap();
    assert!(!dir.exists());
}

async fn a_cancelled_start_is_mended(world: &World) {
    for millis in [0, 1, 2, 4, 6, 9, 13, 20, 30] {
        let spec = world.spec();
        world.runtime.create(&spec).await.unwrap();
        let start = world.runtime.start(&spec);
        drop(tokio::time::timeout(Duration::from_millis(millis), start).await);
        world.runtime.start(&spec).await.unwrap();
        world.runtime.stop(&spec.id, GRACE).await.unwrap();
        let start = world.runtime.start(&spec);
        drop(tokio::time::timeout(Duration::from_millis(millis), start).await);
        world.runtime.destroy(&spec.id).await.unwrap();
        assert_eq!(world.runtime.list().await.unwrap(), []);
    }
}

/// A port that nobody has on this host now. In the sandboxes of the native runtime all are free.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
