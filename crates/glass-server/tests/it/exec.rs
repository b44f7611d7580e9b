//! `/v1/sandboxes/{id}/exec`

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Answer, Client, Events};
use crate::world::{World, eventually};

async fn run(client: &Client, id: &str, params: Value) -> Answer {
    client
        .post(&format!("/v1/sandboxes/{id}/exec"), params)
        .await
}

async fn stream(client: &Client, id: &str, params: Value) -> Events {
    let request = client.request(Method::POST, &format!("/v1/sandboxes/{id}/exec"));
    Events::open(request.header("accept", "text/event-stream").json(&params)).await
}

fn text(chunks: &[Value], kind: &str) -> String {
    let parts = chunks.iter().filter(|chunk| chunk["type"] == kind);
    let bytes: Vec<u8> = parts
        .flat_map(|chunk| {
            BASE64_STANDARD
                .decode(chunk["data"].as_str().unwrap())
                .unwrap()
        })
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_output_and_exit_code() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let done = client.exec(&id, "echo out; echo err >&2; exit 7").await;
        let expected =
            json!({"exit_code": 7, "stdout": "out\n", "stderr": "err\n", "timed_out": false});
        assert_eq!(done, expected);
        let signalled = client.exec(&id, "kill -TERM $$").await;
        assert_eq!(signalled["exit_code"], 128 + 15);
        let params = json!({"command": ["printf", "%s|", "a b", "$HOME"], "env": {"X": "1"}});
        assert_eq!(run(&client, &id, params).await.json["stdout"], "a b|$HOME|");
        let params = json!({"command": "cat; echo $X", "stdin": "hello ", "env": {"X": "there"}});
        assert_eq!(
            run(&client, &id, params).await.json["stdout"],
            "hello there\n"
        );
        client.exec(&id, "mkdir -p deep/er").await;
        let params = json!({"command": "basename $PWD", "cwd": "deep/er"});
        assert_eq!(run(&client, &id, params).await.json["stdout"], "er\n");
        let odd = client.exec(&id, r"printf '\xff'").await;
        assert_eq!(odd["stdout"], "\u{fffd}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_of_megabytes_pass() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let big = "0123456789abcdef".repeat(1 << 17);
        let params = json!({"command": "cat", "stdin": big});
        let answer = run(&client, &id, params.clone()).await;
        assert!(
            answer.json["stdout"] == big,
            "{} bytes came back",
            answer.bytes.len()
        );
        let events = stream(&client, &id, params).await.rest().await;
        let chunks: Vec<Value> = events.into_iter().map(|event| event.data).collect();
        assert!(text(&chunks, "stdout") == big);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_killed_when_its_time_is_over() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let begun = Instant::now();
        let params = json!({"command": "echo begun; sleep 100 & wait", "timeout_ms": 500});
        let answer = run(&client, &id, params.clone()).await;
        assert_eq!(answer.json["timed_out"], true, "{answer:?}");
        assert_eq!(answer.json["exit_code"], 137);
        assert_eq!(answer.json["stdout"], "begun\n");
        let last = stream(&client, &id, params)
            .await
            .rest()
            .await
            .pop()
            .unwrap();
        assert_eq!(
            last.data,
            json!({"type": "exit", "exit_code": 137, "timed_out": true})
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
        for wrong in [0, 3_600_001] {
            let answer = run(
                &client,
                &id,
                json!({"command": "true", "timeout_ms": wrong}),
            )
            .await;
            answer.is_problem(422, "invalid_input").says("timeout_ms");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_command_shows_output_as_it_comes() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        // It goes on only after the test has seen the first line.
        let command = "echo one; until [ -e go ]; do sleep 0.02; done; echo two >&2; exit 3";
        let mut events = stream(&client, &id, json!({ "command": command })).await;
        let start = events.next().await.unwrap().data;
        assert_eq!(start["type"], "start");
        assert!(start["pid"].as_u64().unwrap() > 0);
        let one = events.next().await.unwrap().data;
        assert_eq!(text(&[one], "stdout"), "one\n");
        client.exec(&id, "touch go").await;
        let rest: Vec<Value> = events
            .rest()
            .await
            .into_iter()
            .map(|event| event.data)
            .collect();
        assert_eq!(text(&rest, "stderr"), "two\n");
        let exit = json!({"type": "exit", "exit_code": 3, "timed_out": false});
        assert_eq!(rest.last(), Some(&exit));
        let killed = stream(&client, &id, json!({"command": "kill -KILL $$"})).await;
        let killed = killed.rest().await.pop().unwrap();
        assert_eq!(killed.data["exit_code"], 128 + 9);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_stream_ends_its_command() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        let command = "echo $$ > pid; exec sleep 1000";
        let mut events = stream(&client, &id, json!({ "command": command })).await;
        assert_eq!(events.next().await.unwrap().data["type"], "start");
        eventually("the command runs", async || {
            client
                .exec(&id, "grep -q sleep /proc/$(cat pid)/comm")
                .await["exit_code"]
                == 0
        })
        .await;
        drop(events);
        eventually("the command is gone", async || {
            client.exec(&id, "kill -0 $(cat pid)").await["exit_code"] == 1
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_named() {
    World::run(async |world| {
        let client = world.client();
        let id = client.sandbox().await;
        for accept in ["application/json", "text/event-stream"] {
            let refused = async |params: Value| -> Answer {
                let path = format!("/v1/sandboxes/{id}/exec");
                let request = client.request(Method::POST, &path).header("accept", accept);
                crate::client::send(request.json(&params)).await
            };
            refused(json!({"command": ["no-such-program"]}))
                .await
                .is_problem(422, "command_not_started")
                .says("no-such-program");
            refused(json!({"command": ["/etc"]}))
                .await
                .is_problem(422, "command_not_started")
                .says("/etc");
            refused(json!({"command": "true", "cwd": "no/such/place"}))
                .await
                .is_problem(422, "command_not_started")
                .says("no/such/place");
            for command in [json!(""), json!(" "), json!([]), json!([""])] {
                let answer = refused(json!({ "command": command })).await;
                answer.is_problem(422, "invalid_input").says("command");
            }
            refused(json!({"command": 1}))
                .await
                .is_problem(400, "invalid_json");
            refused(json!({"comand": "true"}))
                .await
                .is_problem(400, "invalid_json");
            refused(json!({"command": "true", "env": {"A=B": "c"}}))
                .await
                .is_problem(422, "invalid_input")
                .says("env");
            refused(json!({"command": "true", "env": {"A": "\u{0}"}}))
                .await
                .is_problem(422, "invalid_input")
                .says("env");
        }
        let nowhere = run(&client, "abcdefghijklmnop", json!({"command": "true"})).await;
        nowhere.is_problem(404, "sandbox_not_found");
    })
    .await;
}
