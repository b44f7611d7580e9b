//! What one sandbox may do on the way out. It can be changed while it is used.

use std::sync::atomic::{AtomicU64, Ordering};

use glass_types::EgressPolicy;
use tokio::sync::watch;

use super::bucket::Bucket;

/// The policy and the bandwidth of one sandbox, and what it used.
///
/// A new policy holds for new connections at once; those that it does not permit are cut.
#[derive(Debug)]
pub struct EgressControl {
    policy: watch::Sender<EgressPolicy>,
    pub(super) sent: Bucket,
    pub(super) received: Bucket,
    pub(super) counters: Counters,
}

/// How much passed, and how often something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EgressCounts {
    /// Connections, requests and questions for names that were refused.
    pub refusals: u64,
    /// Bytes to the outside.
    pub sent_bytes: u64,
    /// Bytes from the outside.
    pub received_bytes: u64,
}

/// [`EgressCounts`] while they grow.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) refusals: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> EgressCounts {
        EgressCounts {
            refusals: self.refusals.load(Ordering::Relaxed),
            sent_bytes: self.sent.load(Ordering::Relaxed),
            received_bytes: self.received.load(Ordering::Relaxed),
        }
    }
}

impl EgressControl {
    /// `bytes_per_second` is for each direction by itself; 0 does not limit it.
    #[must_use]
    pub fn new(policy: EgressPolicy, bytes_per_second: u64) -> Self {
        Self {
            policy: watch::Sender::new(policy),
            sent: Bucket::new(bytes_per_second),
            received: Bucket::new(bytes_per_second),
            counters: Counters::default(),
        }
    }

    /// Puts another policy in force.
    pub fn set_policy(&self, policy: EgressPolicy) {
        self.policy.send_if_modified(|now| {
            let is_other = *now != policy;
            *now = policy;
            is_other
        });
    }

    /// Puts another bandwidth in force.
    pub fn set_bytes_per_second(&self, bytes_per_second: u64) {
        self.sent.set_rate(bytes_per_second);
        self.received.set_rate(bytes_per_second);
    }

    /// What it used so far.
    #[must_use]
    pub fn counts(&self) -> EgressCounts {
        self.counters.read()
    }

    /// The policy, and what it becomes.
    pub(super) fn policy(&self) -> watch::Receiver<EgressPolicy> {
        self.policy.subscribe()
    }
}

impl Default for EgressControl {
    fn default() -> Self {
        Self::new(EgressPolicy::Open, 0)
    }
}
