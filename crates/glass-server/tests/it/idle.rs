//! What nobody uses goes to rest, what somebody uses does not, and policies change while all runs.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, Events};
use crate::terminal::Terminal;
use crate::world::{World, eventually};

/// A policy for tests: what nobody uses freezes at once and stays frozen.
pub(crate) fn freezing() -> Value {
    json!({ "freeze_after_ms": 100, "stop_after_ms": "never", "archive_after_ms": "never" })
}

/// A new sandbox with an idle policy.
pub(crate) async fn sandbox(client: &Client, idle: Value) -> String {
    let answer = client.post("/v1/sandboxes", json!({ "idle": idle })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn state(client: &Client, id: &str) -> String {
    let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
    view["state"].as_str().unwrap_or("gone").to_owned()
}

pub(crate) async fn becomes(client: &Client, id: &str, wanted: &str) {
    eventually(wanted, async || state(client, id).await == wanted).await;
}

/// Waits for as long as a sandbox takes to freeze that nobody uses: whatever is older had its chance, too.
pub(crate) async fn others_freeze(client: &Client) {
    let other = sandbox(client, freezing()).await;
    becomes(client, &other, "frozen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_sandbox_freezes_then_stops_and_keeps_its_files() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(
            &client,
            json!({ "freeze_after_ms": 50, "stop_after_ms": "never", "archive_after_ms": "never" }),
        )
        .await;
        client.exec(&id, "echo kept > note").await;
        becomes(&client, &id, "frozen").await;
        let there = world.runtime().list().await.unwrap();
        assert_eq!(there[0].activity, glass_runtime::Activity::Frozen);
        let patch = json!({ "idle": { "freeze_after_ms": 50, "stop_after_ms": 60 } });
        let place = format!("/v1/sandboxes/{id}");
        assert_eq!(client.patch(&place, patch).await.status, 200);
        becomes(&client, &id, "stopped").await;
        let note = world.workspace(&id).join("note");
        assert!(note.exists(), "idle time removes no file");
        eventually("it has no process", async || {
            let there = world.runtime().list().await.unwrap();
            there[0].activity == glass_runtime::Activity::Stopped
        })
        .await;
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_a_sandbox_keeps_it_awake() {
    World::run(async |world| {
        let client = world.client();
        let [terminal, exec, stream, logs, turn] = [
            sandbox(&client, freezing()).await,
            sandbox(&client, freezing()).await,
            sandbox(&client, freezing()).await,
            sandbox(&client, freezing()).await,
            sandbox(&client, freezing()).await,
        ];
        // Nobody types, and nothing is printed: the open connection is the use.
        let open = Terminal::open(world, &terminal, "?command=sleep%201000")
            .await
            .unwrap();
        let quiet = json!({ "command": "while [ ! -e go ]; do sleep 0.05; done" });
        let path = format!("/v1/sandboxes/{exec}/exec");
        let waiting = client.post(&path, quiet.clone());
        let streamed = client
            .request(Method::POST, &format!("/v1/sandboxes/{stream}/exec"))
            .header("accept", "text/event-stream")
            .json(&quiet);
        let streamed = Events::open(streamed).await;
        let followed = client.request(
            Method::GET,
            &format!("/v1/sandboxes/{logs}/logs?follow=true"),
        );
        let followed = Events::open(followed).await;
        let task = client.task(&turn, "wait for go").await;
        client.events(&task, None).await.until("waiting").await;
        let looking = async {
            for (id, kind) in [
                (&terminal, "terminal"),
                (&exec, "exec"),
                (&stream, "exec"),
                (&logs, "logs"),
                (&turn, "turn"),
            ] {
                eventually("its use is counted", async || {
                    let stats = client.get(&format!("/v1/sandboxes/{id}/stats")).await.json;
                    stats["uses"] == json!({ kind: 1 }) && stats["idle_ms"] == 0
                })
                .await;
            }
            others_freeze(&client).await;
            for id in [&terminal, &exec, &stream, &logs, &turn] {
                assert_eq!(state(&client, id).await, "running");
            }
            // And what does not use one any more does not keep it.
            for id in [&exec, &stream, &turn] {
                std::fs::write(world.workspace(id).join("go"), "").unwrap();
            }
        };
        let (answer, ()) = tokio::join!(waiting, looking);
        assert_eq!(answer.json["exit_code"], 0, "{answer:?}");
        streamed.rest().await;
        drop((open, followed));
        assert_eq!(client.ended(&task).await["status"], "succeeded");
        for id in [&terminal, &exec, &stream, &logs, &turn] {
            becomes(&client, id, "frozen").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_sandbox_neither_wakes_it_nor_keeps_it_awake() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, freezing()).await;
        let used = client.get(&format!("/v1/sandboxes/{id}")).await.json["last_used_at"].clone();
        eventually("it freezes while it is looked at", async || {
            for sight in ["", "/stats", "/ports", "/app", "/tasks"] {
                client.get(&format!("/v1/sandboxes/{id}{sight}")).await;
            }
            state(&client, &id).await == "frozen"
        })
        .await;
        for sight in ["/stats", "/ports", "/app", "/tasks"] {
            client.get(&format!("/v1/sandboxes/{id}{sight}")).await;
        }
        let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
        assert_eq!(
            (&view["state"], &view["last_used_at"]),
            (&json!("frozen"), &used)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_change_while_the_server_runs() {
    World::run(async |world| {
        let client = world.client();
        let usual = sandbox(&client, json!({})).await;
        let own = sandbox(&client, json!({ "always_on": true })).await;
        let view = client.get(&format!("/v1/sandboxes/{usual}")).await.json;
        assert_eq!(view["idle"], json!({}));
        assert_eq!(view["policy"]["freeze_after_ms"], 120_000);
        let changed = client
            .patch("/v1/settings", json!({ "idle": freezing() }))
            .await;
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(changed.json["idle"]["freeze_after_ms"], 100);
        becomes(&client, &usual, "frozen").await;
        others_freeze(&client).await;
        assert_eq!(state(&client, &own).await, "running");
        let stats = client.get(&format!("/v1/sandboxes/{own}/stats")).await.json;
        assert_eq!(stats["policy"]["always_on"], true);
        assert_eq!(stats.get("next"), None, "{stats}");
        let patch = json!({ "idle": {} });
        let patched = client.patch(&format!("/v1/sandboxes/{own}"), patch).await;
        assert_eq!(patched.json["policy"]["freeze_after_ms"], 100);
        becomes(&client, &own, "frozen").await;
        let stats = client.get(&format!("/v1/sandboxes/{own}/stats")).await.json;
        assert_eq!(stats.get("next"), None, "it never stops: {stats}");
        world.stop().await;
        world.start().await;
        let settings = world.client().get("/v1/settings").await.json;
        assert_eq!(settings["idle"]["freeze_after_ms"], 100, "they are kept");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keepalive_holds_rest_off_and_says_what_is_in_force() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, json!({})).await;
        let place = format!("/v1/sandboxes/{id}/keepalive");
        let now = client.get(&format!("/v1/sandboxes/{id}")).await.json["last_used_at"]
            .as_i64()
            .unwrap();
        const HOUR: i64 = 60 * 60 * 1000;
        let kept = client.post(&place, json!({ "until": now + HOUR })).await;
        assert_eq!(kept.json["until"], now + HOUR, "{kept:?}");
        let shorter = client
            .post(&place, json!({ "until": now + HOUR / 2 }))
            .await;
        assert_eq!(shorter.json["until"], now + HOUR, "{shorter:?}");
        let far = client
            .post(&place, json!({ "until": now + 48 * HOUR }))
            .await;
        let until = far.json["until"].as_i64().unwrap();
        assert!(
            (now + 24 * HOUR..now + 25 * HOUR).contains(&until),
            "{far:?}"
        );
        assert_eq!(far.json["asked"], now + 48 * HOUR);
        let past = client.post(&place, json!({ "until": now - 1 })).await;
        past.is_problem(422, "invalid_input").says("until");
        let nothing = client.post(&place, json!({})).await;
        nothing.is_problem(400, "invalid_json").says("until");
        let patch = json!({ "idle": freezing() });
        let patched = client.patch(&format!("/v1/sandboxes/{id}"), patch).await;
        assert_eq!(patched.json["keepalive_until"], until);
        others_freeze(&client).await;
        assert_eq!(state(&client, &id).await, "running");
        let stats = client.get(&format!("/v1/sandboxes/{id}/stats")).await.json;
        assert_eq!(stats["next"]["step"], "freeze");
        assert!(
            stats["next"]["at"].as_i64().unwrap() >= until - 1000,
            "{stats}"
        );
        let ended = client.post(&place, json!({ "until": null })).await;
        assert_eq!(ended.json["until"], Value::Null);
        becomes(&client, &id, "frozen").await;
    })
    .await;
}
