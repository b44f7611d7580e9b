//! The events of a task, from the agent's pen to whoever watches: through the guest's log, one commit each, and a stream.
//!
//! The agent writes the time into each of its lines, so a watcher knows how old an event is. The floor is one commit of
//! one event to a database of its own on the same file system.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use glass_store::{SandboxRow, Store, TaskRow};
use glass_types::{Event, SandboxId, SandboxState, TaskId, TaskState};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::figures::{Row, Samples};
use crate::place::Place;

const PROGRAM: &str = include_str!("agent.py");
const HOME_PROGRAM: &str = "/home/dev/bench-agent.py";
const MANIFEST: &str = r#"
id = "bench"
name = "Benchmark"
homepage = "https://agentclientprotocol.com"
protocol = "anthropic"
default_model = "none"
demo_model = "demo"
install = "Put by the benchmark."

[acp]
argv = ["/usr/bin/python3", "/home/dev/bench-agent.py"]
model = "{model}"
"#;
const ROUNDS: usize = 3;
/// At a pace that an agent may have.
const PACED: Pace = Pace {
    lines: 100,
    pause_ms: 10,
};
/// As fast as it can.
const FLOOD: Pace = Pace {
    lines: 300,
    pause_ms: 0,
};
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Pace {
    lines: u32,
    pause_ms: u32,
}

/// Makes the agent known to a server that reads its manifests there.
pub(crate) fn write_agent(agents: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(agents.join("bench"))?;
    std::fs::write(agents.join("bench/agent.toml"), MANIFEST)
}

pub(crate) async fn fan_out(place: &Place, sandbox: &SandboxId) -> anyhow::Result<Vec<Row>> {
    let put = json!(format!("cat > {HOME_PROGRAM}"));
    place.exec(sandbox, put, Some(PROGRAM)).await?;
    let ledger = Ledger::open(&place.directory().join("floor.db")).await?;
    let mut turn = 0;
    let mut rows = Vec::new();
    for watchers in [1, 50] {
        let (mut floor, mut subject) = (Samples::default(), Samples::default());
        let (mut rates, mut floor_rates) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            let (commits, _) = ledger.commits(PACED.lines).await?;
            floor.extend(commits);
            turn += 1;
            let watched = watched(place, sandbox, turn, watchers, PACED).await?;
            subject.extend(watched.iter().map(Seen::age).collect());

            let (_, time) = ledger.commits(FLOOD.lines).await?;
            floor_rates.push(time / FLOOD.lines);
            turn += 1;
            let watched = watched_flood(place, sandbox, turn, watchers).await?;
            rates.push(watched / FLOOD.lines);
        }
        let rate = |samples: &Samples| 1.0 / samples.percentile(50).as_secs_f64();
        let name = match watchers {
            1 => "event: agent writes → 1 watcher has it".to_owned(),
            more => format!("event: agent writes → each of {more} watchers has it"),
        };
        let (rate, floor_rate) = (rate(&rates), rate(&floor_rates));
        rows.push(
            Row::new(name, subject)
                .over(floor)
                .with_rate(rate, floor_rate),
        );
    }
    Ok(rows)
}

/// The time from the first line to the moment when the slowest watcher has the last.
async fn watched_flood(
    place: &Place,
    sandbox: &SandboxId,
    turn: usize,
    watchers: usize,
) -> anyhow::Result<Duration> {
    let seen = watched(place, sandbox, turn, watchers, FLOOD).await?;
    let first = seen.iter().map(|seen| seen.written).min();
    let last = seen.iter().map(|seen| seen.received).max();
    let (first, last) = first.zip(last).context("no event")?;
    Ok(last.saturating_sub(first))
}

/// An event as one watcher saw it; times since 1970, by the one clock that the agent and we share.
struct Seen {
    written: Duration,
    received: Duration,
}

impl Seen {
    fn age(&self) -> Duration {
        self.received.saturating_sub(self.written)
    }
}

/// One task, and what all its watchers saw.
async fn watched(
    place: &Place,
    sandbox: &SandboxId,
    turn: usize,
    watchers: usize,
    pace: Pace,
) -> anyhow::Result<Vec<Seen>> {
    let start = format!("/tmp/start-{turn}");
    let prompt = format!("{} {} {start}", pace.lines, pace.pause_ms);
    let path = format!("/v1/sandboxes/{sandbox}/tasks");
    let task = json!({ "prompt": prompt, "agent": "bench", "model": "demo" });
    let task = place.api("POST", &path, Some(task)).await?;
    let path = format!("/v1/tasks/{}/events", task["id"].as_str().context("no id")?);
    // A watcher that has the head of the answer has subscribed; only then may the agent begin.
    let opened = try_join_all((0..watchers).map(async |_| {
        let answer = place.request("GET", &path)?.send().await?;
        anyhow::Ok(answer.error_for_status()?)
    }));
    let opened = opened.await?;
    let readers: Vec<_> = opened
        .into_iter()
        .map(|answer| tokio::spawn(timeout(PATIENCE, read(answer))))
        .collect();
    place.exec(sandbox, json!(["touch", start]), None).await?;
    let mut all = Vec::new();
    for reader in readers {
        let seen = reader.await?.context("the task did not end")??;
        let expected = usize::try_from(pace.lines)?;
        ensure!(
            seen.len() == expected,
            "{} of {expected} events came",
            seen.len()
        );
        all.extend(seen);
    }
    Ok(all)
}

/// Reads a stream of events to its end.
async fn read(mut answer: reqwest::Response) -> anyhow::Result<Vec<Seen>> {
    let (mut seen, mut rest) = (Vec::new(), Vec::new());
    while let Some(bytes) = answer.chunk().await? {
        let received = SystemTime::now().duration_since(UNIX_EPOCH)?;
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else {
                continue;
            };
            let event: Value = serde_json::from_slice(data)?;
            match event["type"].as_str() {
                Some("text") => {
                    let written = event["delta"].as_str().unwrap_or_default().trim();
                    let written = Duration::from_nanos(written.parse().context("no time in it")?);
                    seen.push(Seen { written, received });
                }
                Some("end") => ensure!(event["reason"] == "completed", "{event}"),
                _ => {}
            }
        }
    }
    Ok(seen)
}

/// A database with one task, which nobody watches.
struct Ledger {
    store: Store,
    task: TaskId,
}

impl Ledger {
    async fn open(path: &Path) -> anyhow::Result<Self> {
        let store = Store::open(path).await?;
        let sandbox = SandboxRow {
            state: SandboxState::Running,
            ..SandboxRow::fresh("base".to_owned(), String::new(), String::new(), 0)
        };
        store.insert_sandbox(&sandbox).await?;
        let task = TaskRow {
            id: TaskId::random(),
            sandbox: sandbox.id,
            status: TaskState::Running,
            prompt: String::new(),
            agent: "bench".to_owned(),
            model: "demo".to_owned(),
            process_key: None,
            cancel_requested: false,
            result: None,
            error: None,
            created_at: 0,
            ended_at: None,
        };
        store.insert_task(&task).await?;
        Ok(Self {
            store,
            task: task.id,
        })
    }

    /// Commits events one by one.
    async fn commits(&self, count: u32) -> anyhow::Result<(Samples, Duration)> {
        let mut samples = Samples::default();
        let all = Instant::now();
        for _ in 0..count {
            let event = Event::Text {
                delta: "1700000000000000000 ".to_owned(),
            };
            let begin = Instant::now();
            self.store
                .append_events(&self.task, None, &[event], 0)
                .await?;
            samples.push(begin.elapsed());
        }
        Ok((samples, all.elapsed()))
    }
}
