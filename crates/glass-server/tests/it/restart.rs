//! The server goes and comes again; its sandboxes and tasks are as they were.

use glass_runtime::Activity;
use glass_store::{Shift, Store};
use glass_types::SandboxState;
use serde_json::json;

use crate::idle::{becomes, freezing, sandbox, state};
use crate::rests::told;
use crate::world::{World, eventually, within};

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_and_tasks_outlive_the_server() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let stopped = client.sandbox().await;
        client.act(&format!("/v1/sandboxes/{stopped}/stop")).await;
        client.exec(&id, "sleep 1000 & echo $! > pid").await;
        let done = client.task(&id, "hello").await;
        let log = client.events(&done, None).await.rest().await;
        world.stop().await;
        world.start().await;
        let client = world.client();
        let list = client.get("/v1/sandboxes").await.json;
        let mut states: Vec<_> = list["sandboxes"].as_array().unwrap().iter().collect();
        states.sort_by_key(|row| row["state"].as_str().unwrap().to_owned());
        assert_eq!(
            (&states[0]["id"], &states[0]["state"]),
            (&json!(id), &json!("running"))
        );
        assert_eq!(
            (&states[1]["id"], &states[1]["state"]),
            (&json!(stopped), &json!("stopped"))
        );
        let alive = client.exec(&id, "kill -0 $(cat pid)").await;
        assert_eq!(alive["exit_code"], 0, "its processes were left alone");
        assert_eq!(client.events(&done, None).await.rest().await, log);
        let next = client.task(&id, "next").await;
        assert_eq!(client.ended(&next).await["result"], "you said: next");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_over_the_same_directory_is_refused() {
    World::run(async |world| {
        let refused = world.config().build().await.unwrap_err().to_string();
        assert!(refused.contains("another glasshouse"), "{refused}");
        assert!(refused.contains("--data"), "{refused}");
        assert_eq!(world.client().get("/readyz").await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_goes_on_without_the_server() {
    World::run(async |world| {
        for is_killed in [false, true] {
            let client = world.client();
            let id = client.sandbox().await;
            let task = client.task(&id, "wait for go").await;
            let queued = client.task(&id, "queued").await;
            let mut events = client.events(&task, None).await;
            let seen = events.until("waiting").await;
            if is_killed {
                world.kill().await;
            } else {
                // A stream that is open does not hold the server up.
                within(5, "the stop", world.stop()).await;
            }
            // The agent goes on meanwhile.
            std::fs::write(world.workspace(&id).join("go"), "").unwrap();
            world.start().await;
            let client = world.client();
            let rest = client.events(&task, seen.id).await.rest().await;
            let all = client.events(&task, None).await.rest().await;
            let numbers: Vec<_> = all.iter().map(|event| event.id.unwrap()).collect();
            assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
            assert_eq!(rest, all[usize::try_from(seen.id.unwrap()).unwrap()..]);
            let said = all
                .iter()
                .filter(|event| event.data["delta"] == "waiting")
                .count();
            assert_eq!(said, 1, "nothing is said twice: {all:?}");
            let ended = client.ended(&task).await;
            assert_eq!(ended["status"], "succeeded", "{ended}");
            assert_eq!(ended["result"], "waiting done");
            assert_eq!(client.ended(&queued).await["result"], "you said: queued");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_half_done_is_finished() {
    World::run(async |world| {
        let client = world.client();
        let [creating, destroying, gone, lost, stray] = [
            client.sandbox().await,
            client.sandbox().await,
            client.sandbox().await,
            client.sandbox().await,
            client.sandbox().await,
        ];
        let stopping = client.sandbox().await;
        world.kill().await;
        // The rows as a server leaves them that dies between row and world, at every step.
        let store = Store::open(&world.data().join("glasshouse.db"))
            .await
            .unwrap();
        let running = SandboxState::Running;
        for (id, state) in [
            (&creating, SandboxState::Creating),
            (&destroying, SandboxState::Destroying),
            (&stopping, SandboxState::Stopped),
        ] {
            let shift = Shift::new(running, state);
            let moved = store.shift_sandbox(&id.parse().unwrap(), &shift).await;
            assert!(moved.unwrap());
        }
        assert!(store.delete_sandbox(&stray.parse().unwrap()).await.unwrap());
        drop(store);
        let runtime = world.runtime();
        let grace = std::time::Duration::ZERO;
        runtime.destroy(&creating.parse().unwrap()).await.unwrap();
        runtime.destroy(&gone.parse().unwrap()).await.unwrap();
        runtime.stop(&lost.parse().unwrap(), grace).await.unwrap();
        world.start().await;
        let client = world.client();
        for id in [&creating, &gone, &lost] {
            // Ready does not wait for starts.
            becomes(&client, id, "running").await;
            assert_eq!(client.exec(id, "true").await["exit_code"], 0);
        }
        for id in [&destroying, &stray] {
            let view = client.get(&format!("/v1/sandboxes/{id}")).await;
            view.is_problem(404, "sandbox_not_found");
        }
        let mut world_now = runtime.list().await.unwrap();
        world_now.retain(|status| status.activity == Activity::Running);
        assert_eq!(world_now.len(), 3);
        let all = runtime.list().await.unwrap();
        assert!(
            all.iter().all(|status| status.id.as_str() != stray),
            "{all:?}"
        );
        let view = client.get(&format!("/v1/sandboxes/{stopping}")).await;
        assert_eq!(view.json["state"], "stopped");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_was_cut_in_the_middle_is_ended_or_taken_back() {
    World::run(async |world| {
        let client = world.client();
        let [freezing, thawing, dead, dead_frozen] = [
            client.sandbox().await,
            client.sandbox().await,
            client.sandbox().await,
            client.sandbox().await,
        ];
        client.exec(&freezing, "echo kept > note").await;
        world.kill().await;
        let (store, runtime) = (world.store().await, world.runtime());
        let (running, frozen) = (SandboxState::Running, SandboxState::Frozen);
        for id in [&freezing, &dead_frozen] {
            let shift = Shift::new(running, frozen);
            let moved = store.shift_sandbox(&id.parse().unwrap(), &shift).await;
            assert!(moved.unwrap());
        }
        drop(store);
        runtime.freeze(&thawing.parse().unwrap()).await.unwrap();
        let grace = std::time::Duration::ZERO;
        for id in [&dead, &dead_frozen] {
            runtime.stop(&id.parse().unwrap(), grace).await.unwrap();
        }
        world.start().await;
        let client = world.client();
        let activity = async |id: &str| {
            let all = runtime.list().await.unwrap();
            all.into_iter()
                .find(|status| status.id.as_str() == id)
                .map(|status| status.activity)
        };
        assert_eq!(state(&client, &freezing).await, "frozen");
        assert_eq!(activity(&freezing).await, Some(Activity::Frozen));
        assert_eq!(client.exec(&freezing, "cat note").await["stdout"], "kept\n");
        assert_eq!(state(&client, &thawing).await, "running");
        assert_eq!(activity(&thawing).await, Some(Activity::Running));
        becomes(&client, &dead, "running").await;
        assert_eq!(told(world, &dead).await, ["died", "restarted"]);
        // Nobody used it, so nobody needs it now.
        assert_eq!(state(&client, &dead_frozen).await, "stopped");
        for id in [&thawing, &dead, &dead_frozen] {
            assert_eq!(client.exec(id, "true").await["exit_code"], 0);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_any_rest_or_wake_leaves_a_sandbox_that_wakes() {
    World::run(async |world| {
        let faults = world.faults();
        for operation in ["freeze", "thaw", "stop", "start"] {
            let client = world.client();
            let id = sandbox(&client, json!({})).await;
            client.exec(&id, "echo kept > note").await;
            let place = format!("/v1/sandboxes/{id}");
            match operation {
                "thaw" => drop(client.act(&format!("{place}/freeze")).await),
                "start" => drop(client.act(&format!("{place}/stop")).await),
                _ => {}
            }
            let before = faults.calls(operation);
            faults.hold(operation);
            let verb = if operation == "thaw" {
                "start"
            } else {
                operation
            };
            let path = format!("{place}/{verb}");
            let asked = client.act(&path);
            let killed = async {
                eventually("it is in the middle", async || {
                    faults.calls(operation) > before
                })
                .await;
            };
            tokio::select! {
                _ = asked => panic!("{operation} was not held"),
                () = killed => {}
            }
            drop(client);
            world.kill().await;
            faults.release(operation);
            world.start().await;
            let client = world.client();
            assert_eq!(
                client.exec(&id, "cat note").await["stdout"],
                "kept\n",
                "{operation}"
            );
            assert_eq!(state(&client, &id).await, "running", "{operation}");
            assert_eq!(client.delete(&place).await.status, 204);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_time_goes_on_over_a_restart_but_not_for_a_turn() {
    World::run(async |world| {
        let client = world.client();
        let hour = json!({ "freeze_after_ms": 3_600_000, "stop_after_ms": "never" });
        let [old, young, at_work] = [
            sandbox(&client, hour.clone()).await,
            sandbox(&client, hour.clone()).await,
            sandbox(&client, hour).await,
        ];
        let task = client.task(&at_work, "wait for go").await;
        client.events(&task, None).await.until("waiting").await;
        let used = client.get(&format!("/v1/sandboxes/{young}")).await.json["last_used_at"].clone();
        world.stop().await;
        let store = world.store().await;
        let row = store
            .sandbox(&young.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            json!(row.last_used_at),
            used,
            "a server that stops writes it down"
        );
        let long_ago = row.last_used_at - 2 * 3_600_000;
        let uses = [&old, &at_work].map(|id| (id.parse().unwrap(), long_ago));
        store.note_uses(&uses).await.unwrap();
        drop(store);
        world.start().await;
        let client = world.client();
        becomes(&client, &old, "frozen").await;
        let other = sandbox(&client, freezing()).await;
        becomes(&client, &other, "frozen").await;
        assert_eq!(state(&client, &young).await, "running");
        assert_eq!(state(&client, &at_work).await, "running");
        std::fs::write(world.workspace(&at_work).join("go"), "").unwrap();
        assert_eq!(client.ended(&task).await["status"], "succeeded");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_carries_no_id_of_ours_is_left_alone() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let foreign = world.data().join("runtime/sandboxes/Not_One_Of_Ours");
        std::fs::create_dir(&foreign).unwrap();
        world.stop().await;
        let stray = glass_types::SandboxId::random();
        let dir = world.data().join(format!("runtime/sandboxes/{stray}"));
        std::fs::create_dir_all(dir.join("disk/home")).unwrap();
        world.start().await;
        assert!(!dir.exists(), "a sandbox that no row knows is removed");
        assert!(foreign.exists());
        assert_eq!(world.client().exec(&id, "true").await["exit_code"], 0);
    })
    .await;
}
