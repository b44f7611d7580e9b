//! Sandboxes whose processes end by themselves.

use serde_json::json;

use crate::idle::{becomes, state};
use crate::rests::told;
use crate::sandboxes::kill_guest;
use crate::world::{World, eventually, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sandbox_is_brought_back_with_all_it_had() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        let asked = json!({
            "env": { "COLOUR": "red" },
            "labels": { "team": "one" },
            "limits": { "memory_bytes": 123 << 20, "pids": 77 },
            "ports": [8080],
            "visibility": "private",
            "idle": { "always_on": true },
        });
        let made = client.post("/v1/sandboxes", asked).await.json;
        let id = made["id"].as_str().unwrap().to_owned();
        let place = format!("/v1/sandboxes/{id}");
        client.exec(&id, "echo kept > note").await;
        kill_guest(world, &id);
        within(10, "it is started again", async {
            eventually("a second start", async || {
                faults.started_with(&id).len() == 2
            })
            .await;
            becomes(&client, &id, "running").await;
        })
        .await;
        let found = client.exec(&id, "cat note; echo $COLOUR").await;
        assert_eq!(found["stdout"], "kept\nred\n");
        let now = client.get(&place).await.json;
        for field in [
            "env",
            "labels",
            "limits",
            "ports",
            "visibility",
            "idle",
            "policy",
            "url",
        ] {
            assert_eq!(now[field], made[field], "{field}");
        }
        let specs = faults.started_with(&id);
        assert_eq!(format!("{:?}", specs[0]), format!("{:?}", specs[1]));
        assert_eq!(told(world, &id).await, ["died", "restarted"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_dying_has_failed_and_says_why() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        let id = client.sandbox().await;
        let place = format!("/v1/sandboxes/{id}");
        client.exec(&id, "echo kept > note").await;
        for death in 1..=4 {
            becomes(&client, &id, "running").await;
            eventually("it was started", async || {
                faults.started_with(&id).len() == death
            })
            .await;
            becomes(&client, &id, "running").await;
            kill_guest(world, &id);
        }
        becomes(&client, &id, "failed").await;
        let failed = client.get(&place).await.json;
        let reason = failed["reason"].as_str().unwrap();
        assert!(reason.contains("ended unexpectedly"), "{reason}");
        // A browser that reloads for ever starts nothing, and hears when to come back.
        let exec = format!("{place}/exec");
        let run = || client.post(&exec, json!({ "command": "true" }));
        for _ in 0..10 {
            let refused = run().await;
            refused
                .is_problem(503, "sandbox_unavailable")
                .says("ended unexpectedly")
                .advises("glasshouse start");
            assert!(refused.headers.contains_key("retry-after"));
        }
        assert_eq!(faults.started_with(&id).len(), 4);
        let told = told(world, &id).await;
        assert_eq!(told.last().map(String::as_str), Some("failed"), "{told:?}");
        let mended = client.act(&format!("{place}/start")).await;
        assert_eq!(mended.json["state"], "running", "{mended:?}");
        assert_eq!(mended.json.get("reason"), None);
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_while_it_is_frozen_has_stopped_and_wakes() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.exec(&id, "echo kept > note").await;
        client.act(&format!("/v1/sandboxes/{id}/freeze")).await;
        kill_guest(world, &id);
        becomes(&client, &id, "stopped").await;
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
        assert_eq!(state(&client, &id).await, "running");
    })
    .await;
}
