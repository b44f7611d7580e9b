//! Refusals on their way to the log.
//!
//! The gateway knows what was asked for; only the guest can tell who asked. So an answer that refuses carries a number,
//! the guest looks for the process while its connection is still open, and says it by that number. Who says nothing in
//! time is logged without a process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use glass_types::SandboxId;
use tokio::sync::oneshot;

/// In the head of an answer that refuses.
pub(crate) const REFUSAL: &str = "glasshouse-refusal";
/// In the head of the request that says whose connection was refused.
pub(crate) const PROCESS: &str = "glasshouse-process";
/// How long the guest may look.
const PATIENCE: Duration = Duration::from_secs(2);
/// Refusals of a sandbox whose process is being looked for.
const WAITING: usize = 64;
const PROCESS_LENGTH: usize = 64;
const HOST_LENGTH: usize = 255;

/// Something in a sandbox was not let out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRefusal {
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// When.
    pub at: SystemTime,
    /// Who asked, as `name[pid]`, where known.
    pub process: Option<String>,
    /// The host that was asked for.
    pub host: String,
    /// Its port; 53 for a question for the name.
    pub port: u16,
    /// The rule that refused it.
    pub rule: &'static str,
}

/// Is told of every refusal.
pub trait EgressSink: Send + Sync + 'static {
    /// Called once for each. Must not block.
    fn refused(&self, refusal: EgressRefusal) {
        drop(refusal);
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEgressSink;

impl EgressSink for NoEgressSink {}

/// Those of one sandbox that wait for a process.
#[derive(Default)]
pub(super) struct Waiting {
    last: AtomicU64,
    askers: Mutex<BTreeMap<u64, oneshot::Sender<String>>>,
}

impl Waiting {
    /// A number for the answer, and what waits for the process; `None` when too many wait.
    pub(super) fn number(&self) -> Option<(u64, oneshot::Receiver<String>)> {
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        if askers.len() >= WAITING {
            return None;
        }
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        askers.insert(number, sender);
        Some((number, receiver))
    }

    /// The guest found whose it was. What it says is bounded and plain text whatever it says.
    pub(super) fn found(&self, number: u64, process: &str) {
        let asker = self
            .askers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        if let Some(asker) = asker {
            // Whoever waited may have given up.
            drop(asker.send(plain(process, PROCESS_LENGTH)));
        }
    }

    fn forget(&self, number: u64) {
        self.askers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
    }
}

/// Tells the sink when the process is known, or will not be.
pub(super) async fn tell(
    waiting: Arc<Waiting>,
    number: u64,
    process: oneshot::Receiver<String>,
    mut refusal: EgressRefusal,
    sink: Arc<dyn EgressSink>,
) {
    refusal.process = match tokio::time::timeout(PATIENCE, process).await {
        Ok(found) => found.ok(),
        Err(_) => None,
    };
    waiting.forget(number);
    sink.refused(refusal);
}

pub(super) fn refusal(
    sandbox: &SandboxId,
    host: &str,
    port: Option<u16>,
    rule: &'static str,
) -> EgressRefusal {
    EgressRefusal {
        sandbox: sandbox.clone(),
        at: SystemTime::now(),
        process: None,
        host: plain(host, HOST_LENGTH),
        port: port.unwrap_or(0),
        rule,
    }
}

fn plain(text: &str, length: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_few_wait_and_each_is_found_once() {
        let waiting = Waiting::default();
        let mut receivers: Vec<_> = (0..WAITING).map(|_| waiting.number().unwrap()).collect();
        assert!(waiting.number().is_none());
        let (number, mut receiver) = receivers.remove(7);
        waiting.found(number, "cu\u{1b}rl[7]");
        assert_eq!(receiver.try_recv().unwrap(), "curl[7]");
        waiting.found(number, "other");
        waiting.found(u64::MAX, "nobody");
        assert!(waiting.number().is_some());
    }
}
