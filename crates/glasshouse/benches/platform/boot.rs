//! A server that is killed and started again over a thousand sandboxes. The floor is the same server over none.

use anyhow::Context;
use futures::StreamExt;
use futures::TryStreamExt;
use tokio::time::Instant;

use crate::figures::{Amount, Row, Samples};
use crate::place::Place;

const TIMES: usize = 7;
const SANDBOXES: usize = 1000;
const RUNNING: usize = 30;
const FROZEN: usize = 70;
const AT_ONCE: usize = 4;

pub(crate) async fn thousand() -> anyhow::Result<(Vec<Row>, Vec<Amount>)> {
    let mut place = Place::open().await?;
    let (empty, empty_bytes) = boots(&mut place).await?;
    fill(&place).await?;
    let (full, full_bytes) = boots(&mut place).await?;
    let row = format!(
        "kill -9, start → ready, {SANDBOXES} sandboxes ({RUNNING} running, {FROZEN} frozen)"
    );
    let amount = Amount {
        name: format!("resident memory of the server, {SANDBOXES} sandboxes"),
        bytes: full_bytes,
        floor: Some(empty_bytes),
    };
    Ok((vec![Row::new(row, full).over(empty)], vec![amount]))
}

async fn fill(place: &Place) -> anyhow::Result<()> {
    futures::stream::iter(0..SANDBOXES)
        .map(async |number| {
            let sandbox = place.sandbox().await?;
            if number >= RUNNING + FROZEN {
                place.power(&sandbox, "stop").await?;
            } else if number >= RUNNING {
                place.power(&sandbox, "freeze").await?;
            }
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// How long the server took until it was ready, and the bytes that it has then.
async fn boots(place: &mut Place) -> anyhow::Result<(Samples, u64)> {
    let (mut samples, mut bytes) = (Samples::default(), 0);
    for _ in 0..TIMES {
        place.server.kill().await?;
        let begin = Instant::now();
        place.server.launch().await?;
        samples.push(begin.elapsed());
        bytes = resident(place)?;
    }
    Ok((samples, bytes))
}

fn resident(place: &Place) -> anyhow::Result<u64> {
    let pid = place.server.pid().context("no server")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? << 10)
}
