//! The soak itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::time::Instant;

use crate::actions::{self, LABEL};
use crate::chaos;
use crate::client::Client;
use crate::known::Known;
use crate::{harness, option, world};

/// How many do random things at once.
const WORKERS: u64 = 6;
/// How long the server has to bring everything to rest when the killing is over.
const REST: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and wants the machine for itself: cargo test --test soak -- --ignored"]
async fn nothing_is_lost_whatever_is_killed() -> anyhow::Result<()> {
    let sandboxes: usize = option("GLASSHOUSE_SOAK_SANDBOXES", 200);
    let seconds: u64 = option("GLASSHOUSE_SOAK_SECONDS", 60);
    let seed: u64 = option("GLASSHOUSE_SOAK_SEED", rand::random());
    eprintln!("GLASSHOUSE_SOAK_SEED={seed}");
    let mut server = harness::server().await?;
    let client = Client::new(server.port(), server.token()?)?;
    let known = Known::default();
    // Those that nobody chose for a while are put to rest in between, too.
    let idle = json!({ "idle": { "freeze_after_ms": 2000, "stop_after_ms": 15_000 } });
    let set = client
        .json(reqwest::Method::PATCH, "/v1/settings", &idle)
        .await?;
    ensure!(set.status == 200, "{}", set.text());

    let since = Instant::now();
    for _ in 0..sandboxes {
        actions::create(&client, &known).await?;
    }
    eprintln!("{sandboxes} sandboxes after {:?}", since.elapsed());
    let until = Instant::now() + Duration::from_secs(seconds);
    let workers = (0..WORKERS).map(|number| {
        let (client, known) = (client.clone(), known.clone());
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        tokio::spawn(async move {
            let mut done: BTreeMap<&str, u32> = BTreeMap::new();
            while Instant::now() < until {
                let what =
                    actions::any(&client, &known, &mut random, sandboxes + sandboxes / 5).await?;
                *done.entry(what).or_default() += 1;
            }
            anyhow::Ok(done)
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut random = StdRng::seed_from_u64(seed ^ u64::MAX);
    let kills = chaos::reign(&mut server, &known, &mut random, until).await?;
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    for worker in workers {
        for (what, count) in worker.await?.with_context(|| log_tail(&server.log()))? {
            *done.entry(what).or_default() += count;
        }
    }
    eprintln!("{done:?}, {kills:?}");
    ensure!(
        kills.servers > 0 && kills.guests > 0,
        "nothing was killed: {kills:?}"
    );

    let (rows, snapshots) = at_rest(&client, &known).await?;
    server.kill().await?;
    world::equals(server.data(), &rows, &snapshots).await?;
    server.launch().await?;
    every_file_is_there(&client, &known, &mut random).await?;

    for id in rows.keys() {
        let gone = client.delete(&format!("/v1/sandboxes/{id}")).await?;
        ensure!(
            [204, 404].contains(&gone.status.as_u16()),
            "{}",
            gone.text()
        );
    }
    let list = client.get("/v1/snapshots").await?.json();
    for snapshot in list["snapshots"].as_array().context("no snapshots")? {
        let id = snapshot["id"].as_str().context("no id")?;
        client.delete(&format!("/v1/snapshots/{id}")).await?;
    }
    server.kill().await?;
    let left = world::leftovers(server.data())?;
    ensure!(left.is_empty(), "left over: {left:#?}");
    Ok(())
}

/// Rows and snapshots when nothing moves any more. Waits until idle policies and repairs have had their say.
async fn at_rest(
    client: &Client,
    known: &Known,
) -> anyhow::Result<(BTreeMap<String, String>, BTreeSet<String>)> {
    let forever = json!({ "idle": { "freeze_after_ms": "never", "stop_after_ms": "never" } });
    let set = client
        .json(reqwest::Method::PATCH, "/v1/settings", &forever)
        .await?;
    ensure!(set.status == 200, "{}", set.text());
    let since = Instant::now();
    let mut before = BTreeMap::new();
    loop {
        let list = client.get("/v1/sandboxes").await?.json();
        let rows: BTreeMap<String, String> = list["sandboxes"]
            .as_array()
            .context("no sandboxes")?
            .iter()
            .map(|row| {
                let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
                (text("id"), text("state"))
            })
            .collect();
        // One that was killed too often is started as its user would.
        for (id, _) in rows.iter().filter(|(_, state)| *state == "failed") {
            let start = format!("/v1/sandboxes/{id}/start");
            client
                .json(reqwest::Method::POST, &start, &json!({}))
                .await?;
        }
        let moves = rows
            .values()
            .any(|state| !["running", "frozen", "stopped"].contains(&state.as_str()));
        if !moves && rows == before {
            for sandbox in known.all() {
                let sandbox = sandbox.lock().await;
                ensure!(rows.contains_key(&sandbox.id), "{} is lost", sandbox.id);
            }
            let list = client.get("/v1/snapshots").await?.json();
            let snapshots = list["snapshots"].as_array().context("no snapshots")?;
            let ids = snapshots.iter().filter_map(|one| one["id"].as_str());
            return Ok((rows, ids.map(str::to_owned).collect()));
        }
        ensure!(since.elapsed() < REST, "no rest after {REST:?}: {rows:?}");
        before = rows;
        // The reconciler looks every five seconds and tells nobody.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
}

/// Every file of every sandbox, and of some sandboxes made from snapshots.
async fn every_file_is_there(
    client: &Client,
    known: &Known,
    random: &mut StdRng,
) -> anyhow::Result<()> {
    let mut files = 0;
    for sandbox in known.all() {
        let sandbox = sandbox.lock().await;
        for (name, expected) in &sandbox.files {
            let found = actions::digest_of(client, &sandbox.id, name).await?;
            ensure!(found == *expected, "{name} of {} is lost", sandbox.id);
            files += 1;
        }
        if let Some((snapshot, kept)) = sandbox.snapshots.last().filter(|_| random.random_bool(0.2))
        {
            let params = json!({ "labels": { LABEL: "yes" }, "snapshot": snapshot });
            let made = client
                .json(reqwest::Method::POST, "/v1/sandboxes", &params)
                .await?;
            let id = made.json()["id"].as_str().context("no id")?.to_owned();
            for (name, expected) in kept {
                let found = actions::digest_of(client, &id, name).await?;
                ensure!(found == *expected, "{name} of snapshot {snapshot} is lost");
                files += 1;
            }
            client.delete(&format!("/v1/sandboxes/{id}")).await?;
        }
    }
    eprintln!("{files} files are as they were acknowledged");
    Ok(())
}

/// The last of the server's log, for whoever has to find out.
fn log_tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(40).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
