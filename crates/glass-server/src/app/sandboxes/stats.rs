//! What a sandbox uses, who uses it, and what becomes of it next.

use std::collections::BTreeMap;

use glass_api::{NextRestView, StatsView};
use glass_runtime::{RuntimeError, Stats};
use glass_store::{Millis, SandboxRow};
use glass_types::SandboxId;

use super::Sandboxes;
use super::uses::UseKind;
use crate::clock;
use crate::error::ApiError;

impl Sandboxes {
    /// When a sandbox was used last: now, if it is in use.
    pub(super) fn last_used(&self, row: &SandboxRow) -> Millis {
        let driver = self.drivers.get(&row.id);
        driver.map_or(row.last_used_at, |driver| {
            driver.inner().last_used(clock::steady())
        })
    }

    /// What a sandbox uses now. Asking is no use.
    pub(crate) async fn stats(&self, id: &SandboxId) -> Result<StatsView, ApiError> {
        let driver = self.driver(id)?;
        let row = self.get(id).await?;
        let used = match self.runtime.stats(id).await {
            Ok(stats) => stats,
            // It has no process, so it uses nothing.
            Err(RuntimeError::NotRunning(_) | RuntimeError::Unknown(_)) => Stats::default(),
            Err(error) => return Err(error.into()),
        };
        let (now, network) = (clock::steady(), driver.egress.counts());
        let inner = driver.inner();
        let last_used_at = inner.last_used(now);
        let uses: BTreeMap<String, u32> = UseKind::ALL
            .into_iter()
            .map(|kind| (kind.as_str().to_owned(), inner.uses[kind as usize]))
            .filter(|(_, count)| *count > 0)
            .collect();
        Ok(StatsView {
            state: inner.state.to_string(),
            memory_bytes: used.memory_bytes,
            memory_limit_bytes: row.limits.memory_bytes,
            cpu_usec: used.cpu_usec,
            cpu_limit_millis: row.limits.cpu_millis,
            pids: used.pids,
            pids_limit: row.limits.pids,
            disk_bytes: used.disk_bytes,
            disk_limit_bytes: row.limits.disk_bytes,
            network_sent_bytes: network.sent_bytes,
            network_received_bytes: network.received_bytes,
            idle_ms: u64::try_from(now - last_used_at).unwrap_or(0),
            last_used_at,
            policy: inner.policy,
            keepalive_until: inner.keepalive_until,
            next: inner
                .next_rest(now, self.runtime.has_disks())
                .filter(|_| uses.is_empty())
                .map(|(step, at)| NextRestView {
                    step: step.as_str().to_owned(),
                    at,
                }),
            uses,
        })
    }
}
