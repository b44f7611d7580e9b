//! From rest to the first byte of a page, over a connection of its own each time, as a visitor who comes back has.
//!
//! The floor of thawing is the same request while the sandbox runs. The floor of starting is what any container costs:
//! the reference runtime of the Open Container Initiative, over the same image. The app's own start stands beside what
//! a visitor waits for, as nobody can serve a page sooner.

use std::time::Duration;

use anyhow::{Context, ensure};
use glass_runtime::{Runtime, RuntimeError};
use glass_types::SandboxId;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::figures::{Row, Samples};
use crate::oci::Bundle;
use crate::place::Place;

const WARM_UP: usize = 5;
const THAWS: usize = 200;
const STARTS: usize = 40;
const PORT: u16 = 3000;
/// A second one of the same, whose start is measured alone.
const OTHER_PORT: u16 = 3001;
const PATIENCE: Duration = Duration::from_secs(30);
const APP: &str =
    "require('http').createServer((_, answer) => answer.end('hello')).listen(process.env.PORT)";

pub(crate) async fn wakes(place: &Place) -> anyhow::Result<Vec<Row>> {
    let sandbox = place.sandbox().await?;
    let manifest = format!("web:\n  command: node app.js\n  port: {PORT}\n");
    let files = format!("cat > app.js; printf '{manifest}' > glasshouse.yaml; sync");
    place.exec(&sandbox, json!(files), Some(APP)).await?;
    until_open(place, &sandbox, PORT).await?;
    let mut rows = vec![thaw(place, &sandbox).await?];
    rows.extend(start(place, &sandbox).await?);
    place.remove(&sandbox).await?;
    Ok(rows)
}

async fn thaw(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Row> {
    let (mut woken, mut running) = <(Samples, Samples)>::default();
    for turn in 0..WARM_UP + THAWS {
        if turn == WARM_UP {
            (woken, running) = Default::default();
        }
        running.push(first_byte(place, sandbox).await?);
        place.power(sandbox, "freeze").await?;
        woken.push(first_byte(place, sandbox).await?);
    }
    Ok(Row::new("wake from frozen → first byte of the page", woken).over(running))
}

async fn start(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Vec<Row>> {
    let bundle = Bundle::new(place)?;
    let (mut guest, mut page, mut own) = <(Samples, Samples, Samples)>::default();
    let mut floor = Samples::default();
    for turn in 0..WARM_UP + STARTS {
        if turn == WARM_UP {
            (guest, page, own, floor) = Default::default();
        }
        if let Some(bundle) = &bundle {
            floor.push(bundle.start()?);
        }
        place.power(sandbox, "stop").await?;
        let begin = Instant::now();
        place.power(sandbox, "start").await?;
        guest.push(begin.elapsed());
        until_open(place, sandbox, PORT).await?;
        own.push(app_alone(place, sandbox).await?);
        place.power(sandbox, "stop").await?;
        page.push(first_byte(place, sandbox).await?);
    }
    let guest = Row::new("wake from stopped → guest answers, API", guest);
    Ok(vec![
        match bundle {
            Some(_) => guest.over(floor),
            None => guest,
        },
        Row::new("wake from stopped → first byte of the page", page).over(own),
    ])
}

/// What the app takes from its command to its port, in a sandbox that runs.
async fn app_alone(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let command = format!(
        "PORT={OTHER_PORT} setsid node app.js >/dev/null 2>&1 </dev/null & echo $! > other"
    );
    place.exec(sandbox, json!(command), None).await?;
    until_open(place, sandbox, OTHER_PORT).await?;
    let time = begin.elapsed();
    let end = format!("kill $(cat other); while ss -ltn | grep -q :{OTHER_PORT}; do :; done");
    place.exec(sandbox, json!(end), None).await?;
    Ok(time)
}

/// A request on a connection of its own, until its answer begins.
async fn first_byte(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Duration> {
    let host = format!("{PORT}-{sandbox}.preview.localhost:{}", place.server.port());
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let begin = Instant::now();
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", place.server.port())).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await?;
        let time = begin.elapsed();
        answer.truncate(read);
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>((time, answer))
    };
    let (time, answer) = timeout(PATIENCE, asked).await.context("no answer")??;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("hello"),
        "{answer}"
    );
    Ok(time)
}

async fn until_open(place: &Place, sandbox: &SandboxId, port: u16) -> anyhow::Result<()> {
    let begin = Instant::now();
    while let Err(error) = place.behind.connect(sandbox, port).await {
        let closed = matches!(error, RuntimeError::PortClosed { .. });
        ensure!(closed && begin.elapsed() < PATIENCE, error);
        // Nothing tells of a listener that is about to appear, so this asks again.
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
