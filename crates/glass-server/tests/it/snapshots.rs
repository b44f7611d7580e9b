//! Snapshots, forks and templates through the API.

use serde_json::{Value, json};

use crate::client::Client;
use crate::world::World;

async fn snapshot(client: &Client, sandbox: &str) -> Value {
    let path = format!("/v1/sandboxes/{sandbox}/snapshots");
    let answer = client.post(&path, json!({ "name": "before" })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json["state"], "ready");
    answer.json
}

async fn cat(client: &Client, sandbox: &str, file: &str) -> Value {
    client.exec(sandbox, &format!("cat {file}")).await["stdout"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_goes_back_to_a_snapshot() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.exec(&id, "echo one > file").await;
        let kept = snapshot(&client, &id).await;
        assert_eq!(kept["sandbox"], *id);
        client.exec(&id, "echo two > file; touch more").await;
        let path = format!("/v1/sandboxes/{id}/restore");
        let restored = client.post(&path, json!({ "snapshot": kept["id"] })).await;
        assert_eq!(restored.status, 200, "{restored:?}");
        assert_eq!(restored.json["state"], "running", "it ran before");
        assert_eq!(cat(&client, &id, "file").await, "one\n");
        let more = client.exec(&id, "test -e more").await;
        assert_eq!(more["exit_code"], 1, "{more}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_files_environment_and_limits_and_its_own_life() {
    World::run(async |world| {
        let client = world.client();
        let params = json!({
            "env": { "GREETING": "hello" }, "labels": { "team": "a" }, "visibility": "private",
            "limits": { "pids": 99 }, "idle": { "stop_after_ms": "never" }, "ports": [4000],
        });
        let first = client.post("/v1/sandboxes", params).await;
        assert_eq!(first.status, 201, "{first:?}");
        let first = first.json["id"].as_str().unwrap().to_owned();
        client.exec(&first, "echo mine > file").await;
        let fork = client
            .post(&format!("/v1/sandboxes/{first}/fork"), json!({}))
            .await;
        assert_eq!(fork.status, 201, "{fork:?}");
        let second = fork.json["id"].as_str().unwrap();
        assert_ne!(first, second);
        let old = client.get(&format!("/v1/sandboxes/{first}")).await.json;
        for field in ["env", "labels", "limits", "ports", "visibility", "image"] {
            assert_eq!(fork.json[field], old[field], "{field}");
        }
        client.exec(&first, "echo changed > file").await;
        assert_eq!(cat(&client, second, "file").await, "mine\n");
        let greeting = client.exec(second, "echo $GREETING").await;
        assert_eq!(greeting["stdout"], "hello\n");
        let left = client.get("/v1/snapshots").await.json;
        assert_eq!(left["snapshots"], json!([]), "a fork leaves no snapshot");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_outlives_its_sandbox_and_the_server() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.exec(&id, "echo kept > file").await;
        let kept = snapshot(&client, &id).await;
        let sandbox = format!("/v1/sandboxes/{id}");
        assert_eq!(client.delete(&sandbox).await.status, 204);
        world.stop().await;
        world.start().await;
        let client = world.client();
        let again = client
            .post("/v1/sandboxes", json!({ "snapshot": kept["id"] }))
            .await;
        assert_eq!(again.status, 201, "{again:?}");
        let again = again.json["id"].as_str().unwrap();
        assert_eq!(cat(&client, again, "file").await, "kept\n");
        let path = format!("/v1/snapshots/{}", kept["id"].as_str().unwrap());
        assert_eq!(client.delete(&path).await.status, 204);
        client
            .get(&path)
            .await
            .is_problem(404, "snapshot_not_found");
        assert_eq!(cat(&client, again, "file").await, "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_gives_files_and_defaults_that_the_owner_may_change() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        client.exec(&id, "echo starter > file").await;
        let kept = snapshot(&client, &id).await;
        let template = json!({
            "description": "A starter.",
            "snapshot": kept["id"],
            "defaults": { "env": { "A": "1", "B": "1" }, "limits": { "pids": 77 }, "idle": { "freeze_after_ms": 5000 }, "egress": { "mode": "none" } },
        });
        let put = client
            .put_json("/v1/templates/starter", template.clone())
            .await;
        assert_eq!(put.status, 200, "{put:?}");
        let params = json!({ "template": "starter", "env": { "B": "2" }, "limits": { "cpu_millis": 500 } });
        let made = client.post("/v1/sandboxes", params).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(made.json["template"], "starter");
        assert_eq!(made.json["env"], json!({ "A": "1", "B": "2" }));
        assert_eq!(made.json["limits"]["pids"], 77);
        assert_eq!(made.json["limits"]["cpu_millis"], 500);
        let made = made.json["id"].as_str().unwrap();
        assert_eq!(cat(&client, made, "file").await, "starter\n");
        let egress = async |id: &str| client.get(&format!("/v1/sandboxes/{id}/egress")).await;
        assert_eq!(egress(made).await.json["mode"], "none");
        let params = json!({ "template": "starter", "egress": { "mode": "default" } });
        let open = client.post("/v1/sandboxes", params).await;
        assert_eq!(egress(open.json["id"].as_str().unwrap()).await.json["mode"], "open");
        // Its snapshot is needed as long as it is there.
        let path = format!("/v1/snapshots/{}", kept["id"].as_str().unwrap());
        client
            .delete(&path)
            .await
            .is_problem(409, "state_conflict")
            .says("starter");
        assert_eq!(client.delete("/v1/templates/starter").await.status, 204);
        assert_eq!(client.delete(&path).await.status, 204);
        client
            .get("/v1/templates/starter")
            .await
            .is_problem(404, "template_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let (unknown, path) = ("a".repeat(16), format!("/v1/sandboxes/{id}"));
        let create = async |params| client.post("/v1/sandboxes", params).await;
        create(json!({ "snapshot": "nonsense" }))
            .await
            .is_problem(422, "invalid_input")
            .says("snapshot");
        create(json!({ "snapshot": unknown }))
            .await
            .is_problem(404, "snapshot_not_found");
        create(json!({ "template": "none" }))
            .await
            .is_problem(404, "template_not_found")
            .advises("template build none");
        create(json!({ "template": "a", "image": "base" }))
            .await
            .is_problem(422, "invalid_input")
            .says("either image or template");
        client
            .post(&format!("{path}/restore"), json!({ "snapshot": unknown }))
            .await
            .is_problem(404, "snapshot_not_found");
        client
            .post(&format!("{path}/snapshots"), json!({ "expires_in_ms": 0 }))
            .await
            .is_problem(422, "invalid_input")
            .says("expires_in_ms");
        client
            .put_json("/v1/templates/Bad%20Name", json!({ "image": "base" }))
            .await
            .is_problem(422, "invalid_input")
            .says("name");
        let defaults = json!({ "egress": { "mode": "closed" } });
        client
            .put_json(
                "/v1/templates/good",
                json!({ "image": "base", "defaults": defaults }),
            )
            .await
            .is_problem(422, "invalid_input")
            .says("egress.mode");
        client
            .put_json("/v1/templates/good", json!({}))
            .await
            .is_problem(422, "invalid_input")
            .says("snapshot");
        // A turn would go on over files that it has not written.
        let kept = snapshot(&client, &id).await;
        let task = client.task(&id, "hold").await;
        client.events(&task, None).await.until("holding").await;
        client
            .post(
                &format!("{path}/restore"),
                json!({ "snapshot": kept["id"] }),
            )
            .await
            .is_problem(409, "state_conflict")
            .says("an agent works");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_snapshot_goes_and_one_that_no_row_knows_too() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let path = format!("/v1/sandboxes/{id}/snapshots");
        let brief = client.post(&path, json!({ "expires_in_ms": 1 })).await;
        assert_eq!(brief.status, 201, "{brief:?}");
        let stays = snapshot(&client, &id).await;
        world.stop().await;
        let runtime = world.runtime();
        let snapshots = runtime.snapshots().unwrap();
        let stray = glass_types::SnapshotId::random();
        snapshots.take(&id.parse().unwrap(), &stray).await.unwrap();
        world.start().await;
        let client = world.client();
        let left = client.get("/v1/snapshots").await.json;
        assert_eq!(left["snapshots"], json!([stays]));
        let in_world = snapshots.list().await.unwrap();
        assert_eq!(in_world.len(), 1, "{in_world:?}");
    })
    .await;
}
