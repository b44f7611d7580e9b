//! A rest that fails takes nothing away, and is tried again.

use futures::SinkExt;
use serde_json::json;

use crate::idle::{becomes, freezing, sandbox};
use crate::world::{World, eventually};

/// What a sandbox's owner was told, by kind.
pub(crate) async fn told(world: &World, id: &str) -> Vec<String> {
    let store = world.store().await;
    let events = store.sandbox_events(&id.parse().unwrap(), 0, 1000).await;
    events
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_frozen_goes_on_running() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        faults.fail("freeze");
        let id = sandbox(&client, freezing()).await;
        eventually("it is tried, and tried again", async || {
            faults.calls("freeze") >= 2
        })
        .await;
        assert_eq!(told(world, &id).await, ["rest_failed"], "told once");
        becomes(&client, &id, "running").await;
        faults.mend("freeze");
        becomes(&client, &id, "frozen").await;
        assert_eq!(client.exec(&id, "true").await["exit_code"], 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stopped_loses_nothing() {
    World::run(async |world| {
        let (client, faults) = (world.client(), world.faults());
        let idle = json!({ "freeze_after_ms": "never", "stop_after_ms": 50 });
        faults.fail("stop");
        let id = sandbox(&client, idle).await;
        client
            .exec(&id, "echo kept > note; sleep 1000 & echo $! > pid")
            .await;
        eventually("it is tried, and tried again", async || {
            faults.calls("stop") >= 2
        })
        .await;
        assert_eq!(faults.calls("destroy"), 0);
        assert!(told(world, &id).await.contains(&"rest_failed".to_owned()));
        // Who comes meanwhile is served, by the processes that could not be ended.
        let alive = client.exec(&id, "cat note; kill -0 $(cat pid)").await;
        assert_eq!(
            (&alive["stdout"], &alive["exit_code"]),
            (&json!("kept\n"), &json!(0))
        );
        faults.mend("stop");
        becomes(&client, &id, "stopped").await;
        eventually("its processes end", async || {
            let there = world.runtime().list().await.unwrap();
            there[0].activity == glass_runtime::Activity::Stopped
        })
        .await;
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_a_request_that_is_under_way() {
    World::run(async |world| {
        let client = world.client();
        let id = sandbox(&client, json!({})).await;
        let place = format!("/v1/sandboxes/{id}");
        let file = format!("{place}/files/content?path=note");
        let (mut parts, body) = futures::channel::mpsc::channel::<Result<_, std::io::Error>>(1);
        let upload = client.put(&file, reqwest::Body::wrap_stream(body));
        let stop = async {
            parts.send(Ok("all ")).await.unwrap();
            eventually("it is under way", async || {
                let stats = client.get(&format!("{place}/stats")).await.json;
                stats["uses"]["files"] == 1
            })
            .await;
            let path = format!("{place}/stop");
            let end = async {
                eventually("nobody is let in any more", async || {
                    client.get(&format!("{place}/app")).await.status == 503
                })
                .await;
                parts.send(Ok("of it")).await.unwrap();
                drop(parts);
            };
            tokio::join!(client.act(&path), end).0
        };
        let (written, stopped) = tokio::join!(upload, stop);
        assert_eq!(written.status, 200, "{written:?}");
        assert_eq!(stopped.json["state"], "stopped", "{stopped:?}");
        assert_eq!(client.get(&file).await.bytes, b"all of it");
    })
    .await;
}
