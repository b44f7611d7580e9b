//! The host's memory gets short: who is turned away, who gives way, who stays.

use std::sync::atomic::{AtomicU64, Ordering};

use glass_server::{HostMemory, Reading};
use serde_json::json;

use crate::client::Client;
use crate::world::{World, eventually};

/// A host of which the test says how many percent of its memory are free.
#[derive(Debug)]
pub(crate) struct Percent {
    free: AtomicU64,
    looks: AtomicU64,
}

impl Default for Percent {
    fn default() -> Self {
        Self {
            free: AtomicU64::new(90),
            looks: AtomicU64::new(0),
        }
    }
}

impl Percent {
    fn set(&self, percent: u64) {
        self.free.store(percent, Ordering::Relaxed);
    }

    /// Waits until the server has looked and done what it thought right.
    async fn was_heeded(&self) {
        let before = self.looks.load(Ordering::Relaxed);
        // One look may be under way; the one after the next finds what the next has done.
        eventually("the server looks at its memory", async || {
            self.looks.load(Ordering::Relaxed) >= before + 3
        })
        .await;
    }
}

impl HostMemory for Percent {
    fn read(&self) -> std::io::Result<Reading> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let total = 100 << 30;
        Ok(Reading {
            total,
            available: total / 100 * self.free.load(Ordering::Relaxed),
            stalled: None,
        })
    }
}

async fn state(client: &Client, id: &str) -> String {
    let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
    view["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_fit_is_refused_and_told_when_to_come_back() {
    World::run(async |world| {
        let client = world.client();
        world.memory().set(10);
        let answer = client.post("/v1/sandboxes", json!({})).await;
        answer
            .is_problem(503, "low_memory")
            .advises("glasshouse ps");
        assert_eq!(answer.headers["retry-after"], "30");
        let list = client.get("/v1/sandboxes").await.json;
        assert_eq!(list["sandboxes"], json!([]), "nothing is left of it");
        let metrics = client.get("/metrics").await;
        let text = String::from_utf8(metrics.bytes).unwrap();
        assert!(
            text.contains("glasshouse_admissions_refused_total 1"),
            "{text}"
        );
        world.memory().set(90);
        client.sandbox().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_one_that_does_not_fit_stays_stopped_and_whole() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.exec(&id, "echo kept > file").await;
        let path = format!("/v1/sandboxes/{id}");
        assert_eq!(client.act(&format!("{path}/stop")).await.status, 200);
        world.memory().set(10);
        let refused = client.act(&format!("{path}/start")).await;
        refused.is_problem(503, "low_memory");
        assert_eq!(state(&client, &id).await, "stopped");
        world.memory().set(90);
        assert_eq!(client.act(&format!("{path}/start")).await.status, 200);
        assert_eq!(client.exec(&id, "cat file").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_goes_on_while_idle_sandboxes_give_way() {
    World::run(async |world| {
        let client = world.client();
        let idle = client.sandbox().await;
        let at_work = client.sandbox().await;
        let task = client.task(&at_work, "wait for go").await;
        client.events(&task, None).await.until("waiting").await;
        // Scarce, and no emergency.
        world.memory().set(6);
        eventually("the idle one gives way", async || {
            state(&client, &idle).await == "stopped"
        })
        .await;
        world.memory().was_heeded().await;
        assert_eq!(state(&client, &at_work).await, "running");
        world.memory().set(90);
        client.exec(&at_work, "touch go").await;
        assert_eq!(client.ended(&task).await["result"], "waiting done");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_stops_a_turn_and_its_owner_learns_why() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hold").await;
        client.events(&task, None).await.until("holding").await;
        world.memory().set(2);
        eventually("the turn's sandbox is stopped", async || {
            state(&client, &id).await == "stopped"
        })
        .await;
        let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
        let reason = view["reason"].as_str().unwrap();
        assert!(reason.contains("emergency"), "{reason}");
    })
    .await;
}
