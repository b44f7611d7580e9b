//! One sandbox, put to rest and woken over and over while people use it: not a byte is lost and nobody is turned away.
//!
//! Visitors pause for moments, as visitors do, and one of them at least comes while it rests: nothing else wakes it. A
//! freeze is refused while somebody uses the sandbox, so it is asked for until it falls between two uses; a stop waits
//! for the requests that are under way. Both meet requests that come at the same time.

use std::time::Duration;

use anyhow::{Context, ensure};
use glass_testing::{TestServer, artefact};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::actions::{act, digest_of, may};
use crate::client::Client;
use crate::known::digest;
use crate::socket::Opened;
use crate::{harness, option};

/// How many come at once.
const VISITORS: u64 = 4;
/// The longest pause of one of them, in milliseconds.
const PAUSE: u64 = 80;
/// Bytes of the page.
const PAGE: usize = 100 << 10;
const APP: &str = include_str!("echo.mjs");
const MANIFEST: &str = "web:\n  command: node echo.mjs\n";

/// The page everybody asks for.
struct Site {
    client: Client,
    id: String,
    page: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn not_a_byte_is_lost_however_often_it_rests() -> anyhow::Result<()> {
    let server = harness::server().await?;
    let outcome = cycles(&server).await;
    if outcome.is_err() {
        std::fs::write(artefact("cycles.log")?, server.log())?;
    }
    outcome
}

async fn cycles(server: &TestServer) -> anyhow::Result<()> {
    let freezes: u64 = option("GLASSHOUSE_CYCLES", 100);
    let stops = (freezes / 5).max(1);
    let seed: u64 = option("GLASSHOUSE_SOAK_SEED", rand::random());
    eprintln!("GLASSHOUSE_SOAK_SEED={seed}");
    let client = Client::new(server.port(), server.token()?)?;
    let id = server.sandbox(json!({ "ports": [3000] })).await?;
    let site = Site::open(client, id).await?;

    let (over, served) = (CancellationToken::new(), watch::Sender::new(0_u64));
    let site = std::sync::Arc::new(site);
    let visitors: Vec<_> = (0..VISITORS)
        .map(|number| {
            let (site, over, served) = (std::sync::Arc::clone(&site), over.clone(), served.clone());
            let random = StdRng::seed_from_u64(seed.wrapping_add(number));
            tokio::spawn(async move {
                let visited = site.visit(number, random, &served, &over).await;
                over.cancel();
                visited
            })
        })
        .collect();
    let mut driver = Driver {
        site: &site,
        served: served.subscribe(),
        over: over.clone(),
        refused: 0,
    };
    let driven = async {
        let since = Instant::now();
        for _ in 0..freezes {
            driver.rest("freeze").await?;
        }
        let pages = *served.borrow();
        eprintln!(
            "{freezes} freezes in {:?}, {pages} visits, {} refused",
            since.elapsed(),
            driver.refused
        );
        let since = Instant::now();
        for _ in 0..stops {
            driver.rest("stop").await?;
        }
        let pages = *served.borrow() - pages;
        eprintln!("{stops} stops in {:?}, {pages} visits", since.elapsed());
        anyhow::Ok(())
    };
    let driven = driven.await;
    over.cancel();
    for visitor in visitors {
        visitor.await??;
    }
    driven?;
    eprintln!("{} were told to come back", site.client.told_later());
    let metrics = site.client.get("/metrics").await?.text();
    for (operation, expected) in [("freeze", freezes), ("thaw", freezes), ("stop", stops)] {
        let found = count(&metrics, operation)?;
        ensure!(
            found == expected,
            "{found} times {operation}, {expected} expected"
        );
    }
    Ok(())
}

/// How often an operation went well.
fn count(metrics: &str, operation: &str) -> anyhow::Result<u64> {
    let is_it = |line: &&str| {
        line.contains("_count{")
            && line.contains(&format!("operation=\"{operation}\""))
            && !line.contains("\"error\"")
    };
    let line = metrics.lines().find(is_it);
    let line = line.with_context(|| format!("no count of {operation} in:\n{metrics}"))?;
    let number = line.split(' ').nth(1).context("no number")?;
    Ok(number.parse()?)
}

/// Whoever puts it to rest.
struct Driver<'a> {
    site: &'a Site,
    served: watch::Receiver<u64>,
    over: CancellationToken,
    refused: u64,
}

impl Driver<'_> {
    /// Puts it to rest, and returns when visitors have woken it.
    async fn rest(&mut self, how: &str) -> anyhow::Result<()> {
        let path = format!("/v1/sandboxes/{}/{how}", self.site.id);
        loop {
            ensure!(!self.over.is_cancelled(), "a visitor has failed");
            let answer = act(&self.site.client, &path, &[200, 409]).await?;
            if answer.status == 200 {
                break;
            }
            ensure!(how == "freeze", "{}", answer.text());
            self.refused += 1;
        }
        // Each visitor may have had an answer before it and not counted it yet. One more is of a visit that woke it.
        let enough = *self.served.borrow() + VISITORS + 1;
        tokio::select! {
            served = self.served.wait_for(|served| *served >= enough) => { served?; }
            () = self.over.cancelled() => {}
        }
        Ok(())
    }
}

impl Site {
    async fn open(client: Client, id: String) -> anyhow::Result<Self> {
        let page = format!("<p>{id}</p>\n");
        let page = page.repeat(PAGE / page.len());
        let site = Self { client, id, page };
        for (name, text) in [
            ("page.html", site.page.as_str()),
            ("echo.mjs", APP),
            ("glasshouse.yaml", MANIFEST),
        ] {
            site.write(name, text.as_bytes()).await?;
        }
        // Until the guest has seen that there is an app.
        let first = may(site.client.preview(&site.id, "/").await?, &[200])?;
        ensure!(first.body == site.page.as_bytes(), "{}", first.text());
        Ok(Self {
            client: site.client.strict(),
            ..site
        })
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = format!("/v1/sandboxes/{}/files/content?path={name}", self.id);
        may(self.client.put(&path, bytes).await?, &[200]).map(drop)
    }

    /// Comes again and again. Counts every answer.
    async fn visit(
        &self,
        number: u64,
        mut random: StdRng,
        served: &watch::Sender<u64>,
        over: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut bytes = vec![0; 20 << 10];
        while !over.is_cancelled() {
            sleep(Duration::from_millis(random.random_range(0..PAUSE))).await;
            random.fill(&mut bytes[..]);
            let length = random.random_range(0..bytes.len());
            let some = &bytes[..length];
            match random.random_range(0..10) {
                0 => self.echo(some).await?,
                1 => {
                    let name = format!("of-{number}");
                    self.write(&name, some).await?;
                    let found = digest_of(&self.client, &self.id, &name).await?;
                    ensure!(found == digest(some), "a file has other bytes");
                }
                2..4 => {
                    let answer = self.client.post_preview(&self.id, some).await?;
                    let answer = may(answer, &[200])?;
                    ensure!(answer.body == some, "another echo");
                }
                _ => {
                    let answer = may(self.client.preview(&self.id, "/").await?, &[200])?;
                    ensure!(
                        answer.body == self.page.as_bytes(),
                        "the page has other bytes"
                    );
                }
            }
            served.send_modify(|served| *served += 1);
        }
        Ok(())
    }

    /// Says something over a WebSocket a few times, and hears it back.
    async fn echo(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut socket = loop {
            match self.client.preview_socket(&self.id).await? {
                Opened::Socket(socket) => break socket,
                Opened::Later(why) => {
                    ensure!(why.starts_with("503"), "{why}");
                    self.client.count_later();
                }
            }
        };
        for part in bytes.chunks(5000) {
            socket.send(part.to_vec()).await?;
            let back = socket.next().await?.context("it ended")?;
            ensure!(back == part, "another echo");
        }
        socket.close().await
    }
}
