//! What people do with sandboxes, chosen at random.

use anyhow::{Context, bail, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::client::{Answer, Client};
use crate::known::{Known, Sandbox, digest};

/// The label of all sandboxes of this test.
pub(crate) const LABEL: &str = "soak";
/// Bytes of the largest file.
const LARGEST: usize = 64 << 10;

/// Makes a sandbox with a page of its own.
pub(crate) async fn create(client: &Client, known: &Known) -> anyhow::Result<()> {
    let params = json!({ "labels": { LABEL: "yes" }, "limits": { "disk_bytes": 1u64 << 30 } });
    let made = client.json(Method::POST, "/v1/sandboxes", &params).await?;
    ensure!(
        made.status == StatusCode::CREATED,
        "create: {}",
        made.text()
    );
    let id = made.json()["id"].as_str().context("no id")?.to_owned();
    let page = format!("<h1>{id}</h1>");
    write(client, &id, "index.html", page.as_bytes()).await?;
    let files = [("index.html".to_owned(), digest(page.as_bytes()))].into();
    known.add(id, files);
    Ok(())
}

/// Does something with some sandbox.
pub(crate) async fn any(
    client: &Client,
    known: &Known,
    random: &mut StdRng,
    most: usize,
) -> anyhow::Result<&'static str> {
    let Some(mut one) = known.any(random) else {
        tokio::task::yield_now().await;
        return Ok("nothing");
    };
    let id = one.id.clone();
    let path = format!("/v1/sandboxes/{id}");
    let done = match random.random_range(0..100) {
        0..30 => {
            let name = format!("file{}", random.random_range(0..8));
            let mut bytes = vec![0; random.random_range(0..LARGEST)];
            random.fill(&mut bytes[..]);
            write(client, &id, &name, &bytes).await?;
            one.files.insert(name, digest(&bytes));
            "write"
        }
        30..45 => {
            check(client, &one, random).await?;
            "read"
        }
        45..60 => {
            preview(client, &id).await?;
            "preview"
        }
        60..68 => {
            // In use by the exit of an earlier request, say.
            may(
                client
                    .json(Method::POST, &format!("{path}/freeze"), &json!({}))
                    .await?,
                &[200, 409],
            )?;
            "freeze"
        }
        68..75 => {
            may(
                client
                    .json(Method::POST, &format!("{path}/stop"), &json!({}))
                    .await?,
                &[200, 409],
            )?;
            "stop"
        }
        75..80 => {
            may(
                client
                    .json(Method::POST, &format!("{path}/start"), &json!({}))
                    .await?,
                &[200, 409],
            )?;
            "start"
        }
        80..86 => {
            let taken = client
                .json(Method::POST, &format!("{path}/snapshots"), &json!({}))
                .await?;
            let taken = may(taken, &[201, 409])?;
            if taken.status == StatusCode::CONFLICT {
                return Ok("nothing");
            }
            let snapshot = taken.json()["id"].as_str().context("no id")?.to_owned();
            let files = one.files.clone();
            one.snapshots.push((snapshot, files));
            "snapshot"
        }
        86..90 => restore(client, &mut one, random).await?,
        90..95 if known.len() < most => fork(client, known, &one, random).await?,
        _ => {
            may(client.delete(&path).await?, &[204, 404])?;
            one.is_gone = true;
            drop(one);
            known.forget(&id);
            create(client, known).await?;
            "destroy"
        }
    };
    Ok(done)
}

async fn write(client: &Client, id: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = format!("/v1/sandboxes/{id}/files/content?path={name}");
    may(client.put(&path, bytes).await?, &[200]).map(drop)
}

/// Reads a file of a sandbox, which must be as it was acknowledged.
async fn check(client: &Client, one: &Sandbox, random: &mut StdRng) -> anyhow::Result<()> {
    let place = random.random_range(0..one.files.len());
    let (name, expected) = one.files.iter().nth(place).context("no file")?;
    let found = digest_of(client, &one.id, name).await?;
    ensure!(
        found == *expected,
        "{name} of {} is not what was acknowledged",
        one.id
    );
    Ok(())
}

/// The digest of a file of a sandbox.
pub(crate) async fn digest_of(client: &Client, id: &str, name: &str) -> anyhow::Result<String> {
    let path = format!("/v1/sandboxes/{id}/files/content?path={name}");
    let answer = may(client.get(&path).await?, &[200])?;
    Ok(digest(&answer.body))
}

async fn preview(client: &Client, id: &str) -> anyhow::Result<()> {
    let page = may(client.preview(id, "/").await?, &[200])?;
    ensure!(
        page.text().contains(id),
        "the page of {id} is another's: {}",
        page.text()
    );
    Ok(())
}

async fn restore(
    client: &Client,
    one: &mut Sandbox,
    random: &mut StdRng,
) -> anyhow::Result<&'static str> {
    if one.snapshots.is_empty() {
        return Ok("nothing");
    }
    let place = random.random_range(0..one.snapshots.len());
    let (snapshot, files) = one.snapshots[place].clone();
    let path = format!("/v1/sandboxes/{}/restore", one.id);
    let params = json!({ "snapshot": snapshot });
    let restored = may(
        client.json(Method::POST, &path, &params).await?,
        &[200, 409],
    )?;
    if restored.status == StatusCode::CONFLICT {
        return Ok("nothing");
    }
    one.files = files;
    Ok("restore")
}

/// From a snapshot, or from the sandbox as it is.
async fn fork(
    client: &Client,
    known: &Known,
    one: &Sandbox,
    random: &mut StdRng,
) -> anyhow::Result<&'static str> {
    let (made, files) = if !one.snapshots.is_empty() && random.random_bool(0.5) {
        let (snapshot, files) = one.snapshots[one.snapshots.len() - 1].clone();
        let params = json!({ "labels": { LABEL: "yes" }, "snapshot": snapshot });
        let made = client.json(Method::POST, "/v1/sandboxes", &params).await?;
        (made, files)
    } else {
        let path = format!("/v1/sandboxes/{}/fork", one.id);
        let made = client.json(Method::POST, &path, &json!({})).await?;
        (made, one.files.clone())
    };
    let made = may(made, &[201, 409])?;
    if made.status == StatusCode::CONFLICT {
        return Ok("nothing");
    }
    let id = made.json()["id"].as_str().context("no id")?.to_owned();
    // The page names the sandbox, so the new one gets its own.
    let page = format!("<h1>{id}</h1>");
    write(client, &id, "index.html", page.as_bytes()).await?;
    let mut files = files;
    files.insert("index.html".to_owned(), digest(page.as_bytes()));
    known.add(id, files);
    Ok("fork")
}

/// An answer of one of these, or a failure of the test.
fn may(answer: Answer, statuses: &[u16]) -> anyhow::Result<Answer> {
    if statuses.contains(&answer.status.as_u16()) {
        return Ok(answer);
    }
    bail!("{}: {}", answer.status, answer.text())
}
