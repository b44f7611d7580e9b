//! `kill -9` of the server in the middle of a turn loses nothing.

use anyhow::{Context, ensure};
use glass_testing::TestServer;
use serde_json::{Value, json};
use std::time::Duration;

use crate::harness::server;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_event_of_claude_code() -> anyhow::Result<()> {
    kill_in_the_middle("claude-code", "sleep 6").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_event_of_opencode() -> anyhow::Result<()> {
    kill_in_the_middle("opencode", "sleep 6").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_while_the_model_speaks_is_asked_again() -> anyhow::Result<()> {
    kill_in_the_middle("claude-code", "slow").await
}

async fn kill_in_the_middle(agent: &str, prompt: &str) -> anyhow::Result<()> {
    let mut server = server().await?;
    let sandbox = server.sandbox(json!({})).await?;
    let submitted = json!({ "prompt": prompt, "agent": agent });
    let (status, task) = server
        .api(
            "POST",
            &format!("/v1/sandboxes/{sandbox}/tasks"),
            Some(submitted),
        )
        .await?;
    ensure!(status == 202, "{status}: {task}");
    let task = task["id"].as_str().context("no id")?.to_owned();

    // The agent is in the middle of it: its tool runs, or its model speaks.
    let middle = if prompt == "slow" { "text" } else { "tool" };
    let before = wait_for(&server, &task, |events| {
        events.iter().any(|event| event["type"] == middle)
    })
    .await?;
    server.kill().await?;
    let (_, agents) = processes(&sandbox)?;
    ensure!(agents > 0, "the agent ended with the server");
    server.launch().await?;

    let after = wait_for(&server, &task, |events| {
        events.iter().any(|event| event["type"] == "end")
    })
    .await?;
    let ids: Vec<u64> = after
        .iter()
        .filter_map(|event| event["id"].as_u64())
        .collect();
    ensure!(
        ids == (1..=u64::try_from(ids.len())?).collect::<Vec<_>>(),
        "a gap or a repetition: {ids:?}"
    );
    ensure!(
        after[..before.len()] == before[..],
        "what was there has changed"
    );
    let end = after.last().context("no event")?;
    ensure!(end["reason"] == "completed", "{end}\n{}", server.log());
    let (_, view) = server
        .api("GET", &format!("/v1/tasks/{task}"), None)
        .await?;
    ensure!(view["status"] == "succeeded", "{view}");
    let calls: Vec<&str> = after
        .iter()
        .filter(|e| e["status"] == "completed")
        .filter_map(|e| e["call"].as_str())
        .collect();
    let distinct: std::collections::BTreeSet<&&str> = calls.iter().collect();
    ensure!(
        calls.len() == distinct.len(),
        "a tool call was completed twice: {calls:?}"
    );
    Ok(())
}

/// Reads the whole log of a task again and again until it satisfies.
async fn wait_for(
    server: &TestServer,
    task: &str,
    enough: impl Fn(&[Value]) -> bool,
) -> anyhow::Result<Vec<Value>> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let events = events(server, task).await?;
        if enough(&events) {
            return Ok(events);
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "not yet after two minutes: {events:#?}\n{}",
            server.log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The events on disk, as the database has them.
async fn events(server: &TestServer, task: &str) -> anyhow::Result<Vec<Value>> {
    let store = glass_store::Store::open(&server.data().join("glasshouse.db")).await?;
    let rows = store.events(&task.parse()?, 0, 100_000).await?;
    rows.into_iter()
        .map(|row| {
            let mut event = serde_json::to_value(row.event)?;
            event["id"] = json!(row.id);
            Ok(event)
        })
        .collect()
}

/// How many processes there are in the sandbox's own tree, and how many of them are not the guest.
fn processes(sandbox: &str) -> anyhow::Result<(usize, usize)> {
    let pids = crate::leftovers::processes_of(sandbox)?;
    Ok((pids.len(), pids.len().saturating_sub(1)))
}
