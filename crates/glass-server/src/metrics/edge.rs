//! What the edge counts by itself, as metrics.

use glass_edge::{EdgeCounters, Histogram, LATENCY_BUCKETS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The counters of the edge, read when somebody asks.
#[derive(Debug)]
pub(crate) struct EdgeCollector(pub(crate) EdgeCounters);

impl Collector for EdgeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counted = self.0.snapshot();
        let mut requests = encoder.encode_descriptor(
            "edge_requests",
            "Requests to previews by how they ended",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in [
            ("proxied", counted.proxied.count),
            ("held", counted.held.count),
            ("own", counted.own),
            ("warming", counted.warming),
            ("refused", counted.refused),
            ("failed", counted.failed),
        ] {
            requests
                .encode_family(&[("outcome", outcome)])?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let mut times = encoder.encode_descriptor(
            "edge_answer_seconds",
            "Time until the head of an app's answer: at once, or held while sandbox or app started",
            None,
            MetricType::Histogram,
        )?;
        for (outcome, histogram) in [("proxied", &counted.proxied), ("held", &counted.held)] {
            times
                .encode_family(&[("outcome", outcome)])?
                .encode_histogram::<NoLabelSet>(
                    histogram.sum.as_secs_f64(),
                    histogram.count,
                    &buckets(histogram),
                    None,
                )?;
        }
        for (name, help, count) in [
            ("edge_tunnels", "Tunnels that are open", counted.tunnels),
            (
                "edge_waiting",
                "Visitors who wait for a sandbox or an app",
                counted.waiting,
            ),
        ] {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&count)?;
        }
        Ok(())
    }
}

/// Each with what fell into it alone, which is what the encoder wants.
fn buckets(histogram: &Histogram) -> Vec<(f64, u64)> {
    let mut below = 0;
    let bounds = LATENCY_BUCKETS.into_iter().chain([f64::INFINITY]);
    let counts = histogram.cumulative.into_iter().chain([histogram.count]);
    bounds
        .zip(counts)
        .map(|(bound, cumulative)| {
            let own = cumulative - below;
            below = cumulative;
            (bound, own)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use glass_types::SandboxState;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn an_edge_that_did_nothing_says_so() {
        let edge = Box::new(EdgeCollector(EdgeCounters::default()));
        let text = Metrics::new().text(&[(SandboxState::Running, 1)], vec![edge]);
        for line in [
            "glasshouse_edge_requests_total{outcome=\"held\"} 0",
            "glasshouse_edge_answer_seconds_bucket{le=\"+Inf\",outcome=\"proxied\"} 0",
            "glasshouse_edge_tunnels 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
