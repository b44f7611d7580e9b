//! The server goes and comes again; its sandboxes and tasks are as they were.

use glass_runtime::Activity;
use glass_store::{Shift, Store};
use glass_types::SandboxState;
use serde_json::json;

use crate::world::{World, within};

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
            let home = world
                .data()
                .join(format!("runtime/sandboxes/{id}/home/workspace"));
            std::fs::write(home.join("go"), "").unwrap();
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
            let view = client.get(&format!("/v1/sandboxes/{id}")).await;
            assert_eq!(view.json["state"], "running", "{view:?}");
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
