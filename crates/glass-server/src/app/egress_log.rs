//! Refusals of the way out, on their way from the gateway to the database.
//!
//! A sandbox can ask for what it may not have as often as it likes, so what is written is bounded: the same refusal again
//! is not written for a while, a sandbox writes so many in a minute, and the oldest are forgotten.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use glass_gateway::{EgressRefusal, EgressSink};
use glass_store::{EgressRefusalRow, Millis, Store};
use glass_types::SandboxId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Refusals that wait to be written; what comes above is counted by the gateway and not written.
const WAITING: usize = 1024;
/// What comes within this time is written together.
const TOGETHER: Duration = Duration::from_millis(200);
/// How long the same refusal is not written again.
const FOLD: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// Rows that a sandbox writes in a minute, and that it has.
const PER_MINUTE: u32 = 120;
const KEPT: u64 = 1000;
/// Refusals that are remembered for folding, of all sandboxes.
const REMEMBERED: usize = 4096;

/// Where the gateway puts refusals.
#[derive(Debug, Clone)]
pub(crate) struct EgressLog(mpsc::Sender<EgressRefusal>);

/// What writes them.
pub(crate) struct EgressLogWriter {
    store: Store,
    inbox: mpsc::Receiver<EgressRefusal>,
    filter: Filter,
}

/// Decides what is worth a row.
#[derive(Default)]
struct Filter {
    seen: HashMap<Key, Instant>,
    /// Since when, and how many.
    windows: HashMap<SandboxId, (Instant, u32)>,
}

/// What makes two refusals the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    sandbox: SandboxId,
    process: Option<String>,
    host: String,
    port: u16,
    rule: &'static str,
}

impl EgressSink for EgressLog {
    fn refused(&self, refusal: EgressRefusal) {
        // Too many at once say no more than a few.
        drop(self.0.try_send(refusal));
    }
}

impl EgressLog {
    pub(crate) fn new(store: Store) -> (Self, EgressLogWriter) {
        let (sender, inbox) = mpsc::channel(WAITING);
        let writer = EgressLogWriter {
            store,
            inbox,
            filter: Filter::default(),
        };
        (Self(sender), writer)
    }
}

impl EgressLogWriter {
    /// Writes until the shutdown, and then what has come until then.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.inbox.recv() => first,
                () = shutdown.cancelled() => self.inbox.try_recv().ok(),
            };
            let Some(first) = first else { return };
            if !shutdown.is_cancelled() {
                tokio::time::sleep(TOGETHER).await;
            }
            let mut rows: HashMap<SandboxId, Vec<EgressRefusalRow>> = HashMap::new();
            let mut next = Some(first);
            while let Some(refusal) = next {
                if self.filter.keeps(&refusal, Instant::now()) {
                    let of_sandbox = rows.entry(refusal.sandbox.clone()).or_default();
                    of_sandbox.push(row(refusal));
                }
                next = self.inbox.try_recv().ok();
            }
            for (sandbox, rows) in rows {
                let written = self
                    .store
                    .append_egress_refusals(&sandbox, rows, KEPT)
                    .await;
                if let Err(error) = written {
                    tracing::warn!(sandbox.id = %sandbox, %error, "egress refusals are not written");
                }
            }
        }
    }
}

impl Filter {
    fn keeps(&mut self, refusal: &EgressRefusal, now: Instant) -> bool {
        let key = Key {
            sandbox: refusal.sandbox.clone(),
            // By name: a program that is started again and again is the same.
            process: refusal
                .process
                .as_ref()
                .map(|text| text.split('[').next().unwrap_or_default().to_owned()),
            host: refusal.host.clone(),
            port: refusal.port,
            rule: refusal.rule,
        };
        let is_old = |at: &Instant, limit| now.duration_since(*at) >= limit;
        if self.seen.get(&key).is_some_and(|at| !is_old(at, FOLD)) {
            return false;
        }
        if self.seen.len() >= REMEMBERED {
            self.seen.retain(|_, at| !is_old(at, FOLD));
        }
        self.windows.retain(|_, (began, _)| !is_old(began, MINUTE));
        let (_, count) = self
            .windows
            .entry(refusal.sandbox.clone())
            .or_insert((now, 0));
        if *count >= PER_MINUTE {
            return false;
        }
        *count += 1;
        // When even the recent ones are too many, what is not remembered is written twice at worst.
        if self.seen.len() < REMEMBERED {
            self.seen.insert(key, now);
        }
        true
    }
}

fn row(refusal: EgressRefusal) -> EgressRefusalRow {
    let at = refusal.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    EgressRefusalRow {
        number: 0,
        at: Millis::try_from(at.as_millis()).unwrap_or(Millis::MAX),
        process: refusal.process,
        host: refusal.host,
        port: refusal.port,
        rule: refusal.rule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn refusal(sandbox: &SandboxId, process: &str, host: &str) -> EgressRefusal {
        EgressRefusal {
            sandbox: sandbox.clone(),
            at: SystemTime::UNIX_EPOCH,
            process: Some(process.to_owned()),
            host: host.to_owned(),
            port: 443,
            rule: "allowlist",
        }
    }

    #[test]
    fn the_same_again_is_kept_once_for_a_while() {
        let (mut filter, sandbox, now) = (Filter::default(), SandboxId::random(), Instant::now());
        assert!(filter.keeps(&refusal(&sandbox, "curl[1]", "a"), now));
        assert!(!filter.keeps(&refusal(&sandbox, "curl[2]", "a"), now));
        assert!(filter.keeps(&refusal(&sandbox, "node[2]", "a"), now));
        assert!(filter.keeps(&refusal(&sandbox, "curl[1]", "b"), now));
        assert!(filter.keeps(&refusal(&SandboxId::random(), "curl[1]", "a"), now));
        assert!(filter.keeps(&refusal(&sandbox, "curl[1]", "a"), now + FOLD));
    }

    #[test]
    fn a_sandbox_writes_so_many_in_a_minute_and_leaves_the_others_theirs() {
        let (mut filter, sandbox, now) = (Filter::default(), SandboxId::random(), Instant::now());
        let kept = (0..10_000)
            .filter(|number| filter.keeps(&refusal(&sandbox, "x[1]", &number.to_string()), now))
            .count();
        assert_eq!(kept, usize::try_from(PER_MINUTE).unwrap());
        assert!(filter.keeps(&refusal(&SandboxId::random(), "x[1]", "a"), now));
        assert!(filter.keeps(&refusal(&sandbox, "x[1]", "new"), now + MINUTE));
        assert!(filter.seen.len() <= REMEMBERED);
    }
}
