//! `/v1/sandboxes`

use futures::future::join_all;
use glass_runtime::Activity;
use serde_json::{Value, json};

use crate::world::{World, eventually};

const NOBODY: &str = "abcdefghijklmnop";

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_made_shown_listed_and_removed() {
    World::run(async |world| {
        let client = world.client();
        let params = json!({
            "image": "base", "env": {"GREETING": "hello"}, "labels": {"team": "a"}, "ports": [3000],
            "limits": {"memory_bytes": 1 << 28, "pids": 64}
        });
        let made = client.post("/v1/sandboxes", params).await;
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json["id"].as_str().unwrap();
        assert_eq!(made.json["state"], "running");
        assert_eq!(made.json["labels"], json!({"team": "a"}));
        assert_eq!(made.json["env"], json!({"GREETING": "hello"}));
        assert_eq!(made.json["limits"]["memory_bytes"], 1 << 28);
        assert_eq!(made.json["limits"]["pids"], 64);
        let port = world.address().port();
        let url = made.json["url"].as_str().unwrap();
        assert!(
            url.ends_with(&format!("-{id}.preview.localhost:{port}")),
            "{url}"
        );
        assert_eq!(
            client.get(&format!("/v1/sandboxes/{id}")).await.json,
            made.json
        );
        let list = client.get("/v1/sandboxes").await.json;
        assert_eq!(list["sandboxes"], json!([made.json]));
        let greeting = client.exec(id, "echo $GREETING").await;
        assert_eq!(greeting["stdout"], "hello\n");
        let gone = client.delete(&format!("/v1/sandboxes/{id}")).await;
        assert_eq!((gone.status, gone.bytes.len()), (204, 0));
        let again = client.delete(&format!("/v1/sandboxes/{id}")).await;
        again.is_problem(404, "sandbox_not_found").says(id);
        assert_eq!(
            client.get("/v1/sandboxes").await.json["sandboxes"],
            json!([])
        );
        assert_eq!(world.runtime().list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sandboxes_run_at_once() {
    World::run(async |world| {
        let client = world.client();
        let ids = join_all((0..4).map(|_| client.sandbox())).await;
        for id in &ids {
            let home = client.exec(id, "echo $GLASSHOUSE_SANDBOX; echo x").await;
            assert_eq!(home["exit_code"], 0, "{home}");
        }
        assert_eq!(world.runtime().list().await.unwrap().len(), ids.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_sandboxes_and_what_is_no_id_are_not_found() {
    World::run(async |world| {
        let client = world.client();
        for id in [NOBODY, "nonsense", "..", "A%20B", "%2e%2e"] {
            let path = format!("/v1/sandboxes/x{id}");
            client
                .get(&path)
                .await
                .is_problem(404, "sandbox_not_found")
                .advises("glasshouse ps");
        }
        let place = format!("/v1/sandboxes/{NOBODY}");
        client
            .delete(&place)
            .await
            .is_problem(404, "sandbox_not_found");
        for act in ["start", "stop", "app/restart"] {
            let answer = client.act(&format!("{place}/{act}")).await;
            answer.is_problem(404, "sandbox_not_found").says(NOBODY);
        }
        for sight in ["ports", "app", "logs", "tasks", "files"] {
            let answer = client.get(&format!("{place}/{sight}")).await;
            answer.is_problem(404, "sandbox_not_found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_filter_the_list() {
    World::run(async |world| {
        let client = world.client();
        let make = async |labels: Value| {
            let answer = client
                .post("/v1/sandboxes", json!({ "labels": labels }))
                .await;
            answer.json["id"].as_str().unwrap().to_owned()
        };
        let red = make(json!({"colour": "red", "size": "a=b"})).await;
        let blue = make(json!({"colour": "blue"})).await;
        let listed = async |query: &str| -> Vec<String> {
            let answer = client.get(&format!("/v1/sandboxes{query}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let sandboxes = answer.json["sandboxes"].as_array().unwrap().clone();
            let ids = sandboxes
                .iter()
                .map(|one| one["id"].as_str().unwrap().to_owned());
            ids.collect()
        };
        assert_eq!(listed("").await.len(), 2);
        assert_eq!(
            listed("?label=colour=red").await,
            std::slice::from_ref(&red)
        );
        assert_eq!(listed("?label=colour%3Dblue").await, [blue]);
        assert_eq!(listed("?label=size=a=b").await, [red]);
        assert_eq!(listed("?label=colour=green").await, [""; 0]);
        let wrong = client.get("/v1/sandboxes?label=red").await;
        wrong.is_problem(422, "invalid_input").says("name=value");
        let unknown = client.get("/v1/sandboxes?lable=a=b").await;
        unknown.is_problem(422, "invalid_input").says("lable");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_start_may_be_repeated_and_keep_files() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let place = format!("/v1/sandboxes/{id}");
        client.exec(&id, "echo kept > note").await;
        for _ in 0..2 {
            let stopped = client.act(&format!("{place}/stop")).await;
            assert_eq!(
                (stopped.status, &stopped.json["state"]),
                (200, &json!("stopped"))
            );
        }
        let statuses = world.runtime().list().await.unwrap();
        assert_eq!(statuses[0].activity, Activity::Stopped);
        let ports = client.get(&format!("{place}/ports")).await;
        assert_eq!(
            (ports.status, &ports.json["ports"]),
            (200, &json!([])),
            "nothing listens in what rests, and to ask wakes nobody"
        );
        client
            .get(&format!("{place}/app"))
            .await
            .is_problem(409, "state_conflict")
            .says("stopped")
            .advises(&format!("glasshouse start {id}"));
        for _ in 0..2 {
            let started = client.act(&format!("{place}/start")).await;
            assert_eq!(
                (started.status, &started.json["state"]),
                (200, &json!("running"))
            );
        }
        assert_eq!(client.exec(&id, "cat note").await["stdout"], "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_sandbox_take_turns() {
    World::run(async |world| {
        let client = world.client();
        for _ in 0..5 {
            let id = client.sandbox().await;
            let place = format!("/v1/sandboxes/{id}");
            let (start, stop) = (format!("{place}/start"), format!("{place}/stop"));
            let (started, stopped, restarted, gone) = tokio::join!(
                client.act(&start),
                client.act(&stop),
                client.act(&start),
                client.delete(&place)
            );
            for answer in [started, stopped, restarted] {
                // In time, or too late: nothing between.
                if answer.status != 200 {
                    answer.is_problem(404, "sandbox_not_found");
                }
            }
            assert_eq!(gone.status, 204, "{gone:?}");
            client
                .get(&place)
                .await
                .is_problem(404, "sandbox_not_found");
        }
        assert_eq!(world.runtime().list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_leaves_nothing_half_done() {
    World::run(async |world| {
        let client = world.client();
        for patience in [0, 2, 5, 10, 20] {
            let make = client.post("/v1/sandboxes", json!({}));
            let patience = std::time::Duration::from_millis(patience);
            drop(tokio::time::timeout(patience, make).await);
        }
        eventually("all that were begun are there", async || {
            let list = client.get("/v1/sandboxes").await.json;
            let rows = list["sandboxes"].as_array().unwrap();
            rows.iter().all(|row| row["state"] == "running")
                && rows.len() == world.runtime().list().await.unwrap().len()
        })
        .await;
    })
    .await;
}

/// Ends the guest, and only the guest, by its process id.
pub(crate) fn kill_guest(world: &World, id: &str) {
    let file = world
        .data()
        .join(format!("runtime/sandboxes/{id}/init.json"));
    let record: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let pid = i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
