//! Any use wakes; all who come together share one wake and its outcome.

use futures::future::join_all;
use serde_json::json;

use crate::idle::{becomes, freezing, sandbox, state};
use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_use_wakes_what_is_frozen_and_what_is_stopped() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, json!({})).await;
        client.exec(&id, "echo kept > note").await;
        for rest in ["freeze", "stop"] {
            let rested = client.act(&format!("/v1/sandboxes/{id}/{rest}")).await;
            assert_eq!(rested.status, 200, "{rested:?}");
            assert_ne!(rested.json["state"], "running");
            let content = client
                .get(&format!("/v1/sandboxes/{id}/files/content?path=note"))
                .await;
            assert_eq!((content.status, &content.bytes[..]), (200, &b"kept\n"[..]));
            assert_eq!(state(&client, &id).await, "running");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_come_at_once_share_one_wake() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        let id = sandbox(&client, json!({})).await;
        client.act(&format!("/v1/sandboxes/{id}/stop")).await;
        faults.hold("start");
        let before = faults.calls("start");
        let coming = join_all((0..8).map(|_| client.exec(&id, "true")));
        let looking = async {
            eventually("all of them wait", async || {
                let stats = client.get(&format!("/v1/sandboxes/{id}/stats")).await.json;
                stats["uses"]["exec"] == 8
            })
            .await;
            faults.release("start");
        };
        let (answers, ()) = tokio::join!(coming, looking);
        assert!(answers.iter().all(|answer| answer["exit_code"] == 0));
        assert_eq!(faults.calls("start"), before + 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn riders_of_a_failed_wake_get_the_failure_and_nobody_starts_loop() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        let id = sandbox(&client, json!({})).await;
        let place = format!("/v1/sandboxes/{id}");
        client.act(&format!("{place}/stop")).await;
        faults.hold("start");
        faults.fail("start");
        let before = faults.calls("start");
        let path = format!("{place}/exec");
        let run = || client.post(&path, json!({ "command": "true" }));
        let coming = join_all((0..8).map(|_| run()));
        let looking = async {
            eventually("all of them wait", async || {
                let stats = client.get(&format!("{place}/stats")).await.json;
                stats["uses"]["exec"] == 8
            })
            .await;
            faults.release("start");
        };
        let (answers, ()) = tokio::join!(coming, looking);
        for answer in &answers {
            assert_eq!(answer.status, 500, "{answer:?}");
            answer.says("start is to fail");
        }
        assert_eq!(faults.calls("start"), before + 1, "one wake, one failure");
        let view = client.get(&place).await.json;
        assert_eq!(view["state"], "failed");
        assert!(
            view["reason"]
                .as_str()
                .unwrap()
                .contains("start is to fail")
        );
        // The next one tries at once, and from then on a page that reloads for ever starts nothing.
        run().await.says("start is to fail");
        assert_eq!(faults.calls("start"), before + 2);
        for _ in 0..20 {
            let refused = run().await;
            refused.says("start is to fail");
            assert!(
                refused.json["retry_after"].as_u64().unwrap() >= 1,
                "{refused:?}"
            );
        }
        assert!(
            faults.calls("start") <= before + 3,
            "{}",
            faults.calls("start")
        );
        // Who says so is not held up.
        faults.mend("start");
        let started = client.act(&format!("{place}/start")).await;
        assert_eq!(started.json["state"], "running", "{started:?}");
        assert_eq!(run().await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_meets_a_rest_waits_and_is_served() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        for (operation, idle) in [
            ("freeze", freezing()),
            (
                "stop",
                json!({ "freeze_after_ms": "never", "stop_after_ms": 50 }),
            ),
        ] {
            let id = sandbox(&client, idle).await;
            let before = faults.calls(operation);
            faults.hold(operation);
            eventually("it is being put to rest", async || {
                faults.calls(operation) > before
            })
            .await;
            let come = client.exec(&id, "echo served");
            let looking = async {
                eventually("the use is counted", async || {
                    let stats = client.get(&format!("/v1/sandboxes/{id}/stats")).await.json;
                    stats["uses"]["exec"] == 1
                })
                .await;
                faults.release(operation);
            };
            let (answer, ()) = tokio::join!(come, looking);
            assert_eq!(answer["stdout"], "served\n");
            let patch = json!({ "idle": { "always_on": true } });
            client.patch(&format!("/v1/sandboxes/{id}"), patch).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_frozen_by_command_and_says_by_whom() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, json!({})).await;
        let place = format!("/v1/sandboxes/{id}");
        let quiet = json!({ "command": "while [ ! -e go ]; do sleep 0.05; done" });
        let exec = format!("{place}/exec");
        let running = client.post(&exec, quiet);
        let looking = async {
            eventually("the use is counted", async || {
                let stats = client.get(&format!("{place}/stats")).await.json;
                stats["uses"]["exec"] == 1
            })
            .await;
            let refused = client.act(&format!("{place}/freeze")).await;
            refused
                .is_problem(409, "state_conflict")
                .says("1 exec")
                .advises("glasshouse stop");
            std::fs::write(world.workspace(&id).join("go"), "").unwrap();
        };
        tokio::join!(running, looking);
        for _ in 0..2 {
            let frozen = client.act(&format!("{place}/freeze")).await;
            assert_eq!(frozen.json["state"], "frozen", "{frozen:?}");
        }
        client.act(&format!("{place}/stop")).await;
        client
            .act(&format!("{place}/freeze"))
            .await
            .is_problem(409, "state_conflict")
            .says("stopped");
        becomes(&client, &id, "stopped").await;
    })
    .await;
}
