//! What the gateway tells of model requests, to whoever wants to know.

use std::time::Duration;

use glass_gateway::{Protocol, Refusal, Usage, UsageSink};
use http::StatusCode;

use super::Refusals;
use crate::metrics::Metrics;

/// Counts all of it, and hands refusals on to the turns that they concern.
pub(crate) struct ModelWatch {
    pub(crate) metrics: Metrics,
    pub(crate) refusals: Refusals,
}

impl UsageSink for ModelWatch {
    fn record(&self, usage: Usage) {
        let protocol = usage.protocol.name();
        for (kind, count) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read_tokens),
            ("cache_write", usage.cache_write_tokens),
        ] {
            self.metrics.tokens(protocol, kind, count);
        }
    }

    fn answered(&self, protocol: Protocol, status: StatusCode, took: Duration) {
        self.metrics
            .answered(protocol.name(), status.as_u16(), took);
    }

    fn refused(&self, refusal: Refusal) {
        self.refusals.refused(refusal);
    }
}
