//! What is refused before anything is made: each refusal names the thing and the remedy.

use http::Method;
use serde_json::json;

use crate::client::{Answer, send};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_as_documented_are_refused() {
    World::run(async |world| {
        let client = world.client();
        let post = async |body: &str, kind: &str| -> Answer {
            let request = client.request(Method::POST, "/v1/sandboxes");
            send(request.header("content-type", kind).body(body.to_owned())).await
        };
        post("{", "application/json")
            .await
            .is_problem(400, "invalid_json")
            .advises("openapi.json");
        post("1", "application/json")
            .await
            .is_problem(400, "invalid_json");
        post(r#"{"imgae": "base"}"#, "application/json")
            .await
            .is_problem(400, "invalid_json")
            .says("imgae");
        post(r#"{"limits": {"memory": 1}}"#, "application/json")
            .await
            .is_problem(400, "invalid_json")
            .says("memory");
        post(r#"{"ports": [65536]}"#, "application/json")
            .await
            .is_problem(400, "invalid_json")
            .says("ports");
        post("{}", "text/plain")
            .await
            .is_problem(400, "invalid_json")
            .advises("Content-Type: application/json");
        let long = format!(r#"{{"image": "{}"}}"#, "x".repeat(5 << 20));
        post(&long, "application/json")
            .await
            .is_problem(413, "too_large");
        nothing_was_made(world).await;
    })
    .await;
}

/// The simulated runtime isolates nothing, so it has no tier but the lowest.
#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_the_host_cannot_give_is_refused_and_never_lowered() {
    World::run(async |world| {
        let client = world.client();
        for tier in ["gvisor", "microvm"] {
            let answer = client
                .post("/v1/sandboxes", json!({ "isolation": tier }))
                .await;
            answer.is_problem(422, "invalid_input").advises("tier");
            assert_eq!(answer.json["errors"][0]["field"], "isolation");
            assert_eq!(answer.json["errors"][0]["value"], tier);
        }
        nothing_was_made(world).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_says_how_it_is_sealed() {
    World::run(async |world| {
        let client = world.client();
        let wanted = json!({
            "root": "writable", "isolation": "container",
            "limits": { "cpu_weight": 50, "open_files": 300, "network_bytes_per_second": 4096 }
        });
        let made = client.post("/v1/sandboxes", wanted.clone()).await;
        let id = made.json["id"].as_str().unwrap().to_owned();
        let shown = client.get(&format!("/v1/sandboxes/{id}")).await;
        for answer in [made, shown] {
            for field in ["root", "isolation"] {
                assert_eq!(answer.json[field], wanted[field]);
            }
            for limit in ["cpu_weight", "open_files", "network_bytes_per_second"] {
                assert_eq!(answer.json["limits"][limit], wanted["limits"][limit]);
            }
        }
        let plain = client.post("/v1/sandboxes", json!({})).await;
        assert_eq!(plain.json["root"], "throw-away");
        assert_eq!(plain.json["isolation"], "container");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_of_a_sandbox_are_all_named() {
    World::run(async |world| {
        let client = world.client();
        let params = json!({
            "env": {"1A": "", "GLASSHOUSE_TOKEN": "mine", "NUL": "\u{0}"}, "labels": {"a b": ""}, "ports": [0],
            "limits": {"memory_bytes": 1, "cpu_millis": 0, "pids": 0, "disk_bytes": 1}
        });
        let answer = client.post("/v1/sandboxes", params).await;
        answer.is_problem(422, "invalid_input");
        let errors = answer.json["errors"].as_array().unwrap();
        let fields: Vec<_> = errors.iter().map(|one| one["field"].as_str().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "env",
                "env.NUL",
                "env.GLASSHOUSE_TOKEN",
                "labels",
                "ports",
                "limits.memory_bytes",
                "limits.cpu_millis",
                "limits.pids",
                "limits.disk_bytes"
            ]
        );
        assert!(errors.iter().all(|one| one["message"] != ""));
        nothing_was_made(world).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_not_there_are_refused() {
    World::run(async |world| {
        let client = world.client();
        let image = async |name: &str| client.post("/v1/sandboxes", json!({ "image": name })).await;
        image("bsae")
            .await
            .is_problem(404, "image_not_found")
            .says("bsae")
            .advises("glasshouse image");
        for name in ["../../etc", "", "A B", "\u{0}", &"x".repeat(10_000)] {
            image(name)
                .await
                .is_problem(422, "invalid_input")
                .says("image");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        image(&digest).await.is_problem(404, "image_not_found");
        nothing_was_made(world).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_cannot_be_done_are_refused() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let tasks = format!("/v1/sandboxes/{id}/tasks");
        let task = async |body: serde_json::Value| client.post(&tasks, body).await;
        task(json!({"prompt": "x".repeat(2 << 20)}))
            .await
            .is_problem(413, "too_large")
            .says("1048576");
        task(json!({"prompt": " \n"}))
            .await
            .is_problem(422, "invalid_input");
        task(json!({}))
            .await
            .is_problem(400, "invalid_json")
            .says("prompt");
        task(json!({"prompt": "x", "agnet": "y"}))
            .await
            .is_problem(400, "invalid_json")
            .says("agnet");
        task(json!({"prompt": "x", "agent": "nobody"}))
            .await
            .is_problem(404, "agent_not_found")
            .says("nobody")
            .advises("claude-code");
        task(json!({"prompt": "x", "model": "claude-sonnet-5-5"}))
            .await
            .is_problem(422, "model_unavailable")
            .advises("ANTHROPIC_API_KEY");
        let unknown = "/v1/sandboxes/abcdefghijklmnop/tasks";
        let answer = client.post(unknown, json!({"prompt": "x"})).await;
        answer.is_problem(404, "sandbox_not_found");
        assert_eq!(client.get(&tasks).await.json["tasks"], json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tasks_are_not_found() {
    World::run(async |world| {
        let client = world.client();
        for id in ["abcdefghijklmnop", "nonsense"] {
            let place = format!("/v1/tasks/{id}");
            client
                .get(&place)
                .await
                .is_problem(404, "task_not_found")
                .says(id);
            client
                .get(&format!("{place}/events"))
                .await
                .is_problem(404, "task_not_found");
            client
                .act(&format!("{place}/cancel"))
                .await
                .is_problem(404, "task_not_found");
        }
    })
    .await;
}

async fn nothing_was_made(world: &World) {
    let list = world.client().get("/v1/sandboxes").await.json;
    assert_eq!(list["sandboxes"], json!([]));
    assert_eq!(world.runtime().list().await.unwrap(), []);
}
