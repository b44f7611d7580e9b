//! Tasks: queued, driven, cancelled, failed.

use glass_types::SandboxState;
use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{World, eventually};

async fn status(client: &Client, task: &str) -> String {
    let view = client.get(&format!("/v1/tasks/{task}")).await.json;
    view["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_with_what_the_agent_said() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hello").await;
        let ended = client.ended(&task).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        assert_eq!(ended["result"], "you said: hello");
        assert_eq!(ended["prompt"], "hello");
        assert_eq!(ended["agent"], "scripted");
        let demo = json!({"id": "demo", "name": "demo model", "demo": true});
        assert_eq!(ended["model"], demo);
        assert!(ended["ended_at"].as_i64() >= ended["created_at"].as_i64());
        assert_eq!(ended.get("error"), None);
        // The sandbox's next task takes its last agent unless it names one.
        let tasks = format!("/v1/sandboxes/{id}/tasks");
        let second = client.post(&tasks, json!({"prompt": "again"})).await.json;
        assert_eq!(second["agent"], "scripted");
        let second = client.ended(second["id"].as_str().unwrap()).await;
        assert_eq!(second["result"], "you said: again");
        let list = client.get(&tasks).await.json;
        assert_eq!(list["tasks"], json!([second, ended]), "the newest first");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_sandbox_wait_for_each_other() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let first = client.task(&id, "wait for go").await;
        let second = client.task(&id, "second").await;
        client.events(&first, None).await.until("waiting").await;
        assert_eq!(status(&client, &first).await, "running");
        assert_eq!(status(&client, &second).await, "queued");
        client.exec(&id, "touch go").await;
        let first = client.ended(&first).await;
        assert_eq!(first["result"], "waiting done");
        let second = client.ended(&second).await;
        assert_eq!(second["result"], "you said: second");
        assert!(second["ended_at"].as_i64() >= first["ended_at"].as_i64());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_work_side_by_side() {
    World::run(async |world| {
        let client = world.client();
        let (a, b) = tokio::join!(client.sandbox(), client.sandbox());
        let held = client.task(&a, "hold").await;
        client.events(&held, None).await.until("holding").await;
        // Done while the other sandbox's agent holds.
        let other = client.task(&b, "free").await;
        assert_eq!(client.ended(&other).await["status"], "succeeded");
        assert_eq!(status(&client, &held).await, "running");
        client.act(&format!("/v1/tasks/{held}/cancel")).await;
        assert_eq!(client.ended(&held).await["status"], "cancelled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_and_queued_tasks_are_cancelled() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let running = client.task(&id, "hold").await;
        let queued = client.task(&id, "never").await;
        let last = client.task(&id, "last").await;
        client.events(&running, None).await.until("holding").await;
        let asked = client.act(&format!("/v1/tasks/{queued}/cancel")).await;
        assert_eq!(asked.status, 202);
        let asked = client.act(&format!("/v1/tasks/{running}/cancel")).await;
        assert_eq!(asked.status, 202);
        let ended = client.ended(&running).await;
        assert_eq!(ended["status"], "cancelled", "{ended}");
        assert_eq!(ended["result"], "holdingstopped");
        let ended = client.ended(&queued).await;
        assert_eq!(ended["status"], "cancelled", "{ended}");
        let events = client.events(&queued, None).await.rest().await;
        assert_eq!(events.len(), 1, "its agent never saw it: {events:?}");
        let ended = client.ended(&last).await;
        assert_eq!(ended["result"], "you said: last");
        // Nothing changes what has ended.
        let again = client.act(&format!("/v1/tasks/{last}/cancel")).await;
        assert_eq!((again.status, &again.json), (202, &ended));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_fails_its_task_and_the_next_one_works() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let dead = client.task(&id, "die").await;
        let next = client.task(&id, "next").await;
        let ended = client.ended(&dead).await;
        assert_eq!(ended["status"], "failed", "{ended}");
        let error = ended["error"].as_str().unwrap();
        assert!(error.contains("out of luck"), "{error}");
        let ended = client.ended(&next).await;
        assert_eq!(ended["result"], "you said: next", "{ended}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_in_the_image_fails_its_task() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let path = format!("/v1/sandboxes/{id}/tasks");
        let body = json!({"prompt": "hello", "agent": "absent"});
        let task = client.post(&path, body).await.json;
        let ended = client.ended(task["id"].as_str().unwrap()).await;
        assert_eq!(ended["status"], "failed", "{ended}");
        let error = ended["error"].as_str().unwrap();
        assert!(error.contains("/nowhere/agent"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_model_costs_nothing() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "cost").await;
        let events = client.events(&task, None).await.rest().await;
        let usage = events.iter().find(|event| event.data["type"] == "usage");
        let usage = &usage.unwrap().data;
        assert_eq!(usage["used_tokens"], 10, "{usage}");
        assert_eq!(usage.get("cost_usd"), None, "{usage}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_starts_a_sandbox_that_is_stopped() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.act(&format!("/v1/sandboxes/{id}/stop")).await;
        let task = client.task(&id, "hello").await;
        assert_eq!(client.ended(&task).await["status"], "succeeded");
        let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
        assert_eq!(view["state"], SandboxState::Running.as_str());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_sandbox_ends_its_tasks_and_it_stays_stopped() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let running = client.task(&id, "hold").await;
        let queued = client.task(&id, "never").await;
        client.events(&running, None).await.until("holding").await;
        client.act(&format!("/v1/sandboxes/{id}/stop")).await;
        for task in [&running, &queued] {
            let ended = client.ended(task).await;
            assert_eq!(ended["status"], "cancelled", "{ended}");
            assert_eq!(ended["error"], "the sandbox was stopped");
            let said = (task == &running).then(|| json!("holding"));
            assert_eq!(ended.get("result"), said.as_ref());
        }
        let view = client.get(&format!("/v1/sandboxes/{id}")).await.json;
        assert_eq!(view["state"], "stopped");
        // And it is of use again.
        let task = client.task(&id, "hello").await;
        assert_eq!(client.ended(&task).await["result"], "you said: hello");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_sandbox_ends_the_streams_of_its_tasks() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let running = client.task(&id, "hold").await;
        let queued = client.task(&id, "never").await;
        let mut first = client.events(&running, None).await;
        first.until("holding").await;
        let second = client.events(&queued, None).await;
        assert_eq!(
            client.delete(&format!("/v1/sandboxes/{id}")).await.status,
            204
        );
        first.rest().await;
        second.rest().await;
        for task in [running, queued] {
            let gone = client.get(&format!("/v1/tasks/{task}")).await;
            gone.is_problem(404, "task_not_found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_breaks_under_an_agent_is_started_again() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let task = client.task(&id, "hold").await;
        client.events(&task, None).await.until("holding").await;
        crate::sandboxes::kill_guest(world, &id);
        let ended = client.ended(&task).await;
        assert_eq!(ended["status"], "failed", "{ended}");
        eventually("the sandbox runs", async || {
            let view: Value = client.get(&format!("/v1/sandboxes/{id}")).await.json;
            view["state"] == "running"
        })
        .await;
        let next = client.task(&id, "next").await;
        assert_eq!(client.ended(&next).await["result"], "you said: next");
    })
    .await;
}
