//! What `/metrics` tells, in the text format of `OpenMetrics`.
//!
//! Names follow <https://prometheus.io/docs/practices/naming/>: base units, `_total` for what only grows. Labels have
//! few values each; no id of a sandbox is one.

mod edge;
mod egress;
mod labels;

use std::sync::Arc;
use std::time::Duration;

use glass_types::SandboxState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

pub(crate) use edge::EdgeCollector;
pub(crate) use egress::EgressMetrics;
pub(crate) use labels::Operation;
use labels::{Answered, Demoted, Done, Kind, State, Stored, Tokens};

/// From a quarter of a millisecond, which a thaw takes, to half a minute.
const OPERATION_SECONDS: [f64; 14] = [
    0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];
/// From a read of a cached page to a disk that hangs.
const STORE_SECONDS: [f64; 8] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.25, 1.0];
/// From the demo model to a provider that thinks for long before its first byte.
const GATEWAY_SECONDS: [f64; 9] = [0.005, 0.05, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Counts and times of this process.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    operations: Family<Done, Histogram>,
    admissions_refused: Counter,
    demotions: Family<Demoted, Counter>,
    repairs: Family<Kind, Counter>,
    deaths: Counter,
    gateway: Family<Answered, Histogram>,
    tokens: Family<Tokens, Counter>,
    store: Family<Stored, Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            operations: Family::new_with_constructor(|| Histogram::new(OPERATION_SECONDS)),
            admissions_refused: Counter::default(),
            demotions: Family::default(),
            repairs: Family::default(),
            deaths: Counter::default(),
            gateway: Family::new_with_constructor(|| Histogram::new(GATEWAY_SECONDS)),
            tokens: Family::default(),
            store: Family::new_with_constructor(|| Histogram::new(STORE_SECONDS)),
        }))
    }

    /// Does a change of a sandbox, and notes how long it took and how it ended.
    pub(crate) async fn timed<T, E>(
        &self,
        operation: Operation,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let since = Instant::now();
        let outcome = change.await;
        let done = Done::new(operation, outcome.is_ok());
        self.0
            .operations
            .get_or_create(&done)
            .observe(since.elapsed().as_secs_f64());
        outcome
    }

    /// A sandbox was turned away for want of memory.
    pub(crate) fn admission_refused(&self) {
        self.0.admissions_refused.inc();
    }

    /// A sandbox was put to rest, or its memory reclaimed, because memory was short.
    pub(crate) fn demotion(&self, step: &'static str, class: &'static str) {
        self.0
            .demotions
            .get_or_create(&Demoted { step, class })
            .inc();
    }

    /// World and rows differed.
    pub(crate) fn repair(&self, kind: &'static str) {
        self.0.repairs.get_or_create(&Kind { kind }).inc();
    }

    /// The processes of a sandbox ended by themselves.
    pub(crate) fn death(&self) {
        self.0.deaths.inc();
    }

    /// The gateway answered: the time is until the head of the answer.
    pub(crate) fn answered(&self, protocol: &'static str, status: u16, took: Duration) {
        let answered = Answered { protocol, status };
        self.0
            .gateway
            .get_or_create(&answered)
            .observe(took.as_secs_f64());
    }

    /// A model used tokens.
    pub(crate) fn tokens(&self, protocol: &'static str, kind: &'static str, count: u64) {
        self.0
            .tokens
            .get_or_create(&Tokens { protocol, kind })
            .inc_by(count);
    }

    /// The database was asked.
    pub(crate) fn stored(&self, took: Duration, is_ok: bool) {
        let stored = Stored::new(is_ok);
        self.0
            .store
            .get_or_create(&stored)
            .observe(took.as_secs_f64());
    }

    /// All of it as text, with how many sandboxes there are in each state and what others count by themselves.
    pub(crate) fn text(
        &self,
        sandboxes: &[(SandboxState, u64)],
        others: Vec<Box<dyn Collector>>,
    ) -> String {
        let mut registry = Registry::with_prefix("glasshouse");
        let inner = &self.0;
        let states = Family::<State, Gauge>::default();
        for (state, count) in sandboxes {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let state = state.as_str();
            states.get_or_create(&State { state }).set(count);
        }
        registry.register("sandboxes", "Sandboxes by state", states);
        registry.register(
            "sandbox_operation_seconds",
            "Time that changes of sandboxes took",
            inner.operations.clone(),
        );
        registry.register(
            "admissions_refused",
            "Sandboxes that were turned away for want of memory",
            inner.admissions_refused.clone(),
        );
        registry.register(
            "demotions",
            "Sandboxes that gave memory back because it was short",
            inner.demotions.clone(),
        );
        registry.register(
            "reconcile_repairs",
            "Differences between rows and world that were mended",
            inner.repairs.clone(),
        );
        registry.register(
            "sandbox_deaths",
            "Sandboxes whose processes ended by themselves",
            inner.deaths.clone(),
        );
        registry.register(
            "gateway_answer_seconds",
            "Time until the head of a model's answer",
            inner.gateway.clone(),
        );
        registry.register(
            "gateway_tokens",
            "Tokens of model requests",
            inner.tokens.clone(),
        );
        registry.register(
            "store_query_seconds",
            "Time that statements of the database took",
            inner.store.clone(),
        );
        registry.register(
            "resident_bytes",
            "Memory of this process",
            ConstGauge::new(resident_bytes()),
        );
        for other in others {
            registry.register_collector(other);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes everything");
        text
    }
}

/// Bytes of memory that this process has now.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    pages.unwrap_or(0) * page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_counted_is_told() {
        let metrics = Metrics::new();
        let thaw = std::future::ready(Ok::<_, ()>(()));
        metrics.timed(Operation::Thaw, thaw).await.unwrap();
        metrics.admission_refused();
        metrics.demotion("stop", "idle");
        metrics.tokens("anthropic", "input", 12);
        let text = metrics.text(&[(SandboxState::Frozen, 3)], Vec::new());
        for line in [
            "glasshouse_sandbox_operation_seconds_bucket{le=\"30.0\",operation=\"thaw\",outcome=\"ok\"} 1",
            "glasshouse_sandboxes{state=\"frozen\"} 3",
            "glasshouse_admissions_refused_total 1",
            "glasshouse_demotions_total{step=\"stop\",class=\"idle\"} 1",
            "glasshouse_gateway_tokens_total{protocol=\"anthropic\",kind=\"input\"} 12",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
