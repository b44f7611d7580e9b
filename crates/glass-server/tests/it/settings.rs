//! What may be changed of a sandbox and of the server while they run, and what may not.

use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_changes_what_it_names_and_nothing_else() {
    World::run(async |world| {
        let client = world.client();
        let asked = json!({ "labels": { "a": "1", "b": "2" }, "limits": { "pids": 100 } });
        let made = client.post("/v1/sandboxes", asked).await.json;
        let place = format!("/v1/sandboxes/{}", made["id"].as_str().unwrap());
        let patch = json!({
            "labels": { "b": null, "c": "3" },
            "visibility": "private",
            "limits": { "memory_bytes": 200 << 20 },
        });
        let edited = client.patch(&place, patch).await;
        assert_eq!(edited.status, 200, "{edited:?}");
        assert_eq!(edited.json["labels"], json!({ "a": "1", "c": "3" }));
        assert_eq!(edited.json["visibility"], "private");
        assert_eq!(edited.json["limits"]["memory_bytes"], 200 << 20);
        assert_eq!(edited.json["limits"]["pids"], 100);
        assert_eq!(edited.json["policy"], made["policy"]);
        let nothing = client.patch(&place, json!({})).await;
        assert_eq!(nothing.json["labels"], edited.json["labels"]);
        // In force from the next start.
        client.act(&format!("{place}/stop")).await;
        client.act(&format!("{place}/start")).await;
        let specs = world.faults().started_with(made["id"].as_str().unwrap());
        let memory: Vec<u64> = specs.iter().map(|spec| spec.limits.memory_bytes).collect();
        assert_eq!(memory.last(), Some(&(200 << 20)));
        assert_eq!(specs[0].limits.pids, specs[1].limits.pids);
        for (patch, field) in [
            (json!({ "visibility": "secret" }), "visibility"),
            (json!({ "labels": { "a b": "1" } }), "labels"),
            (json!({ "limits": { "pids": 1 } }), "limits.pids"),
            (
                json!({ "limits": { "disk_bytes": 1 << 30 } }),
                "limits.disk_bytes",
            ),
        ] {
            let refused = client.patch(&place, patch).await;
            refused.is_problem(422, "invalid_input").says(field);
        }
        let unknown = client.patch(&place, json!({ "env": {} })).await;
        unknown.is_problem(400, "invalid_json");
        let soon = json!({ "idle": { "freeze_after_ms": "soon" } });
        assert_eq!(client.patch(&place, soon).await.status, 400);
        let nobody = format!("/v1/sandboxes/{}", glass_types::SandboxId::random());
        let nobody = client.patch(&nobody, json!({})).await;
        nobody.is_problem(404, "sandbox_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_make_no_sense_are_refused_and_change_nothing() {
    World::run(async |world| {
        let client = world.client();
        let before = client.get("/v1/settings").await;
        assert_eq!(before.status, 200);
        let wrong = json!({ "idle": { "always_on": true }, "keepalive_max_ms": 1_u64 << 40 });
        let refused = client.patch("/v1/settings", wrong).await;
        refused
            .is_problem(422, "invalid_input")
            .says("keepalive_max_ms");
        let unknown = client.patch("/v1/settings", json!({ "idel": {} })).await;
        unknown.is_problem(400, "invalid_json");
        assert_eq!(client.get("/v1/settings").await.json, before.json);
        let longer = json!({ "keepalive_max_ms": 1000 });
        let changed = client.patch("/v1/settings", longer).await.json;
        assert_eq!(changed["keepalive_max_ms"], 1000);
        assert_eq!(changed["idle"], before.json["idle"]);
    })
    .await;
}
