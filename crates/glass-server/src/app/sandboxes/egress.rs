//! What a sandbox may reach outside, and what it was not let out to.

use std::sync::Arc;

use glass_api::{EgressParams, EgressRefusalList, EgressRefusalView, EgressView};
use glass_gateway::{EgressControl, EgressCounts};
use glass_store::SandboxRow;
use glass_types::{EgressPolicy, SandboxId};

use super::Sandboxes;
use super::driver::Driver;
use crate::app::validate;
use crate::error::ApiError;

/// How many refusals one answer has.
const PAGE: u64 = 200;

impl Sandboxes {
    /// The policy of a sandbox, as it is in its row.
    fn policy(&self, row: &SandboxRow) -> EgressPolicy {
        let Some(json) = &row.egress else {
            return self.egress.clone();
        };
        serde_json::from_str(json).unwrap_or_else(|error| {
            // What cannot be read permits nothing.
            tracing::error!(sandbox.id = %row.id, %error, "the egress policy in the database cannot be read");
            EgressPolicy::None
        })
    }

    /// What gives another sandbox the policy of this one.
    pub(super) fn egress_like(&self, row: &SandboxRow) -> Option<EgressParams> {
        row.egress.as_ref()?;
        let policy = self.policy(row);
        Some(EgressParams {
            mode: policy.mode().to_owned(),
            rules: policy.rules(),
        })
    }

    /// What the gateway holds the sandbox to from now on.
    pub(super) fn egress_control(&self, row: &SandboxRow) -> Arc<EgressControl> {
        let rate = row.limits.network_bytes_per_second;
        Arc::new(EgressControl::new(self.policy(row), rate))
    }

    /// What passed to and from the outside of all sandboxes, and how often something was refused.
    pub(crate) fn egress_counts(&self) -> EgressCounts {
        self.gateway.egress_counts()
    }

    /// The policy that is in force.
    pub(crate) async fn egress(&self, id: &SandboxId) -> Result<EgressView, ApiError> {
        Ok(self.egress_view(&self.get(id).await?))
    }

    fn egress_view(&self, row: &SandboxRow) -> EgressView {
        let policy = self.policy(row);
        EgressView {
            mode: policy.mode().to_owned(),
            rules: policy.rules(),
            is_default: row.egress.is_none(),
            is_enforced: self.is_egress_enforced(),
        }
    }

    /// Without a network of its own a sandbox has the host's way out.
    fn is_egress_enforced(&self) -> bool {
        self.gateway_port != 0
    }

    /// Puts another policy in force: in the row first, so that it holds whatever happens to this server.
    pub(crate) async fn set_egress(
        self: &Arc<Self>,
        id: &SandboxId,
        params: &EgressParams,
    ) -> Result<EgressView, ApiError> {
        let json = validate::egress(params)?;
        let row = self.editing(id, |row| row.egress = json).await?;
        Ok(self.egress_view(&row))
    }

    /// Puts what an edited row says in force.
    pub(super) fn note_egress(&self, driver: &Driver, row: &SandboxRow) {
        driver.egress.set_policy(self.policy(row));
        let rate = row.limits.network_bytes_per_second;
        driver.egress.set_bytes_per_second(rate);
    }

    /// Refusals after the one with this number, the newest last.
    pub(crate) async fn egress_refusals(
        &self,
        id: &SandboxId,
        after: i64,
        limit: Option<u64>,
    ) -> Result<EgressRefusalList, ApiError> {
        self.get(id).await?;
        let limit = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let mut rows = self.store.egress_refusals(id, after, limit + 1).await?;
        let has_more = u64::try_from(rows.len()).unwrap_or(u64::MAX) > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let refusals = rows
            .into_iter()
            .map(|row| EgressRefusalView {
                number: row.number,
                at: row.at,
                process: row.process,
                host: row.host,
                port: row.port,
                rule: row.rule,
            })
            .collect();
        Ok(EgressRefusalList { refusals, has_more })
    }
}
