//! What the gateway counts of the way out.

use std::fmt;

use glass_gateway::EgressCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

/// The counts of all sandboxes together.
#[derive(Debug)]
pub(crate) struct EgressMetrics(pub(crate) EgressCounts);

impl Collector for EgressMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let EgressCounts {
            refusals,
            sent_bytes,
            received_bytes,
        } = self.0;
        for (name, help, count) in [
            (
                "egress_refusals",
                "What sandboxes were not let out to",
                refusals,
            ),
            (
                "egress_sent_bytes",
                "Bytes that sandboxes sent to the outside",
                sent_bytes,
            ),
            (
                "egress_received_bytes",
                "Bytes that sandboxes received from the outside",
                received_bytes,
            ),
        ] {
            let counter = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}
