//! Requests to an app through its preview URL, against the same app reached past the edge: a connection that was made
//! inside the sandbox's network namespace. Connections are kept.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use glass_runtime::{Runtime, RuntimeError};
use glass_types::SandboxId;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::figures::{Row, Samples};
use crate::place::Place;

const PORT: u16 = 3000;
const APP: &str =
    "require('http').createServer((_, answer) => answer.end('hello')).listen(3000, '127.0.0.1')";
/// Requests per connection before the other side has its turn.
const STRETCH: usize = 100;
const ROUNDS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn requests(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Vec<Row>> {
    let command = format!("setsid node -e \"{APP}\" >/dev/null 2>&1 </dev/null &");
    place.exec(sandbox, json!(command), None).await?;
    let begin = Instant::now();
    while let Err(error) = place.behind.connect(sandbox, PORT).await {
        let closed = matches!(error, RuntimeError::PortClosed { .. });
        ensure!(closed && begin.elapsed() < PATIENCE, error);
        // Nothing tells of a listener that is about to appear, so this asks again.
        sleep(Duration::from_millis(20)).await;
    }
    let mut rows = Vec::new();
    for connections in [1, 16] {
        rows.push(concurrently(place, sandbox, connections).await?);
    }
    Ok(rows)
}

async fn concurrently(
    place: &Place,
    sandbox: &SandboxId,
    connections: usize,
) -> anyhow::Result<Row> {
    let host = format!("{PORT}-{sandbox}.preview.localhost:{}", place.server.port());
    let (mut direct, mut edge) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let stream = place.behind.connect(sandbox, PORT).await?;
        direct.push(Connection::open(stream, &host).await?);
        let stream = TcpStream::connect(("127.0.0.1", place.server.port())).await?;
        stream.set_nodelay(true)?;
        edge.push(Connection::open(stream, &host).await?);
    }
    // The first stretch warms both up.
    stretch(&mut direct).await?;
    stretch(&mut edge).await?;
    let (mut subject, mut floor) = (Stretches::default(), Stretches::default());
    for _ in 0..ROUNDS {
        floor.add(stretch(&mut direct).await?);
        subject.add(stretch(&mut edge).await?);
    }
    let (rate, floor_rate) = (subject.rate(), floor.rate());
    Ok(Row::new(
        format!("preview request, {connections} at once"),
        subject.samples,
    )
    .over(floor.samples)
    .with_rate(rate, floor_rate))
}

#[derive(Default)]
struct Stretches {
    samples: Samples,
    time: Duration,
}

impl Stretches {
    fn add(&mut self, (samples, time): (Samples, Duration)) {
        self.samples.extend(samples);
        self.time += time;
    }

    fn rate(&self) -> f64 {
        let count = u32::try_from(self.samples.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.time.as_secs_f64()
    }
}

/// A stretch of requests on every connection, all at once.
async fn stretch(connections: &mut [Connection]) -> anyhow::Result<(Samples, Duration)> {
    let begin = Instant::now();
    let done = try_join_all(connections.iter_mut().map(async |connection| {
        let mut samples = Samples::default();
        for _ in 0..STRETCH {
            samples.push(connection.get().await?);
        }
        anyhow::Ok(samples)
    }));
    let mut all = Samples::default();
    for samples in done.await? {
        all.extend(samples);
    }
    Ok((all, begin.elapsed()))
}

/// A connection that is kept.
struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    host: String,
    driver: JoinHandle<()>,
}

impl Connection {
    async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
    ) -> anyhow::Result<Self> {
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // What becomes of the connection shows in its requests.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            requests,
            host: host.to_owned(),
            driver,
        })
    }

    async fn get(&mut self) -> anyhow::Result<Duration> {
        let request = hyper::Request::get("/")
            .header("host", &self.host)
            .body(Empty::new())?;
        let begin = Instant::now();
        self.requests
            .ready()
            .await
            .context("the connection closed")?;
        let answer = self.requests.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let time = begin.elapsed();
        ensure!(status.is_success() && body == "hello", "{status}: {body:?}");
        Ok(time)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
