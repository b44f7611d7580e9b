//! One sandbox, put to rest and woken over and over while people use it: not a byte is lost and nobody is turned away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::actions::digest_of;
use crate::client::Client;
use crate::known::digest;
use crate::{harness, option};

/// How many requests are under way at once.
const VISITORS: usize = 4;
/// Bytes of the page.
const PAGE: usize = 256 << 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and wants the machine for itself: cargo test --test soak -- --ignored"]
async fn not_a_byte_is_lost_however_often_it_rests() -> anyhow::Result<()> {
    // A tenth unless asked: all of it takes minutes.
    let all: u64 = option("GLASSHOUSE_CYCLES", 0);
    let (freezes, stops) = if all > 0 { (1000, 200) } else { (100, 20) };
    let server = harness::server().await?;
    let client = Client::new(server.port(), server.token()?)?;
    let id = server.sandbox(json!({ "ports": [3000] })).await?;
    let path = format!("/v1/sandboxes/{id}");
    let page = page(&id);
    let written = client
        .put(
            &format!("{path}/files/content?path=index.html"),
            page.as_bytes(),
        )
        .await?;
    ensure!(written.status == 200, "{}", written.text());
    let expected = digest(page.as_bytes());

    let (over, served) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let visitors: Vec<_> = (0..VISITORS)
        .map(|_| {
            let (client, id, over) = (client.clone(), id.clone(), over.clone());
            let (served, expected) = (Arc::clone(&served), expected.clone());
            tokio::spawn(async move {
                while !over.is_cancelled() {
                    let page = client.preview(&id, "/").await?;
                    ensure!(page.status == 200, "{}: {}", page.status, page.text());
                    ensure!(digest(&page.body) == expected, "the page has other bytes");
                    served.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    let writer = {
        let (client, path, over) = (client.clone(), path.clone(), over.clone());
        tokio::spawn(async move {
            let mut last = 0_u64;
            while !over.is_cancelled() {
                last += 1;
                let place = format!("{path}/files/content?path=counter");
                let written = client.put(&place, last.to_string().as_bytes()).await?;
                ensure!(written.status == 200, "{}", written.text());
            }
            anyhow::Ok(last)
        })
    };
    let mut frozen = 0;
    while frozen < freezes {
        let answer = client
            .json(Method::POST, &format!("{path}/freeze"), &json!({}))
            .await?;
        // Somebody always uses it, so it is refused now and then, and says so.
        match answer.status.as_u16() {
            200 => frozen += 1,
            409 => tokio::task::yield_now().await,
            _ => anyhow::bail!("freeze: {}", answer.text()),
        }
    }
    for _ in 0..stops {
        let answer = client
            .json(Method::POST, &format!("{path}/stop"), &json!({}))
            .await?;
        ensure!(answer.status == 200, "stop: {}", answer.text());
        // The visitors wake it; the next stop comes when it has been seen again.
        let before = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) == before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    over.cancel();
    for visitor in visitors {
        visitor.await??;
    }
    let last = writer.await??;
    let found = digest_of(&client, &id, "counter").await?;
    ensure!(
        found == digest(last.to_string().as_bytes()),
        "the last write is lost"
    );
    let pages = served.load(Ordering::Relaxed);
    eprintln!("{freezes} freezes, {stops} stops, {pages} pages, {last} writes");
    client.delete(&path).await.context("remove").map(drop)
}

fn page(id: &str) -> String {
    let line = format!("<p>{id}</p>\n");
    line.repeat(PAGE / line.len())
}
