//! The soak itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use glass_testing::{TestServer, artefact};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actions::{self, DISK, LABEL};
use crate::chaos;
use crate::client::Client;
use crate::known::{Files, Known};
use crate::{harness, option, world};

/// How many do random things at once.
const WORKERS: u64 = 6;
/// How long the server has to bring everything to rest when the killing is over.
const REST: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_whatever_is_killed() -> anyhow::Result<()> {
    let mut server = harness::server().await?;
    let outcome = soak(&mut server).await;
    if outcome.is_err() {
        std::fs::write(artefact("soak.log")?, server.log())?;
    }
    outcome
}

async fn soak(server: &mut TestServer) -> anyhow::Result<()> {
    let sandboxes: usize = option("GLASSHOUSE_SOAK_SANDBOXES", 30);
    let seconds: u64 = option("GLASSHOUSE_SOAK_SECONDS", 30);
    let seed: u64 = option("GLASSHOUSE_SOAK_SEED", rand::random());
    eprintln!("GLASSHOUSE_SOAK_SEED={seed}");
    let began = Instant::now();
    let client = Client::new(server.port(), server.token()?)?;
    let known = Known::default();
    // Those that nobody chose for a while are put to rest in between, too.
    settings(&client, &json!(2000), &json!(15_000)).await?;
    for _ in 0..sandboxes {
        actions::create(&client, &known).await?;
    }
    eprintln!("{sandboxes} sandboxes after {:?}", began.elapsed());

    let until = Instant::now() + Duration::from_secs(seconds);
    let over = CancellationToken::new();
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let (client, known, over) = (client.clone(), known.clone(), over.clone());
            let random = StdRng::seed_from_u64(seed.wrapping_add(number));
            tokio::spawn(async move {
                let done = work(&client, &known, random, until, &over, sandboxes).await;
                if done.is_err() {
                    over.cancel();
                }
                done
            })
        })
        .collect();
    let mut random = StdRng::seed_from_u64(seed ^ u64::MAX);
    let kills = chaos::reign(server, &known, &mut random, until, &over).await?;
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    for worker in workers {
        for (what, count) in worker.await?? {
            *done.entry(what).or_default() += count;
        }
    }
    let count: u32 = done.values().sum();
    eprintln!("{count} actions {done:?}, {kills:?}");
    ensure!(
        kills.servers > 0 && kills.guests > 0,
        "nothing was killed: {kills:?}"
    );

    let since = Instant::now();
    let (rows, snapshots) = at_rest(&client, &known).await?;
    chaos::see(server.data(), &known);
    server.kill().await?;
    world::equals(server.data(), &rows, &snapshots, &known.seen()).await?;
    let (many, kept) = (rows.len(), snapshots.len());
    eprintln!(
        "{many} sandboxes, {kept} snapshots are as the rows say after {:?}",
        since.elapsed()
    );
    server.launch().await?;
    every_file_is_there(&client, &known, &mut random).await?;

    remove_all(&client, server.data(), &known).await?;
    server.kill().await?;
    let left = world::leftovers(server.data(), &known.seen())?;
    ensure!(left.is_empty(), "left over: {left:#?}");
    eprintln!("nothing is left after {:?}", began.elapsed());
    Ok(())
}

/// Does one thing after the other, and counts.
async fn work(
    client: &Client,
    known: &Known,
    mut random: StdRng,
    until: Instant,
    over: &CancellationToken,
    sandboxes: usize,
) -> anyhow::Result<BTreeMap<&'static str, u32>> {
    let mut done = BTreeMap::new();
    while Instant::now() < until && !over.is_cancelled() {
        let what = actions::any(client, known, &mut random, sandboxes + sandboxes / 5).await?;
        *done.entry(what).or_default() += 1;
    }
    Ok(done)
}

async fn settings(client: &Client, freeze: &Value, stop: &Value) -> anyhow::Result<()> {
    let idle = json!({ "idle": { "freeze_after_ms": freeze, "stop_after_ms": stop } });
    let set = client.json(Method::PATCH, "/v1/settings", &idle).await?;
    actions::may(set, &[200]).map(drop)
}

/// Removes sandboxes, templates and snapshots, as their owner would.
async fn remove_all(client: &Client, data: &Path, known: &Known) -> anyhow::Result<()> {
    for (list, name) in [
        ("sandboxes", "id"),
        ("templates", "name"),
        ("snapshots", "id"),
    ] {
        let all = client.get(&format!("/v1/{list}")).await?.json();
        chaos::see(data, known);
        for one in all[list].as_array().with_context(|| format!("no {list}"))? {
            let name = one[name].as_str().context("no name")?;
            let gone = client.delete(&format!("/v1/{list}/{name}")).await?;
            actions::may(gone, &[204])?;
        }
    }
    Ok(())
}

/// Rows and snapshots when nothing moves any more. Waits until idle policies and repairs have had their say.
async fn at_rest(
    client: &Client,
    known: &Known,
) -> anyhow::Result<(BTreeMap<String, String>, BTreeSet<String>)> {
    settings(client, &json!("never"), &json!("never")).await?;
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
            client.json(Method::POST, &start, &json!({})).await?;
        }
        let moves = rows
            .values()
            .any(|state| !["running", "frozen", "stopped"].contains(&state.as_str()));
        if !moves && rows == before {
            for one in known.all() {
                ensure!(
                    rows.contains_key(&one.id),
                    "lost: {}\n{}",
                    one.id,
                    one.story
                );
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
    for one in known.all() {
        let state = one.state.lock().await;
        files += are_there(client, &one.id, &state.files)
            .await
            .with_context(|| format!("{}\n{}", one.id, one.story))?;
        let Some(snapshot) = state.snapshots.choose(random) else {
            continue;
        };
        if random.random_bool(0.2) {
            let limits = json!({ "disk_bytes": DISK });
            let params =
                json!({ "labels": { LABEL: "yes" }, "limits": limits, "snapshot": snapshot.id });
            let made = client.json(Method::POST, "/v1/sandboxes", &params).await?;
            let made = actions::may(made, &[201])?.json();
            let id = made["id"].as_str().context("no id")?;
            files += are_there(client, id, &snapshot.files)
                .await
                .with_context(|| format!("of {}\n{}", snapshot.id, one.story))?;
        }
    }
    eprintln!("{files} files are as they were acknowledged");
    Ok(())
}

async fn are_there(client: &Client, id: &str, files: &Files) -> anyhow::Result<usize> {
    for (name, expected) in files {
        let found = actions::digest_of(client, id, name)
            .await
            .with_context(|| name.clone())?;
        ensure!(found == *expected, "{name} is lost");
    }
    Ok(files.len())
}
