//! What the sandbox's policy said, for as long as it says so.

use glass_types::EgressPolicy;
use tokio::sync::watch;

use super::control::EgressControl;
use super::refusal::Refusal;
use super::target::Target;

/// The policy permitted a target.
pub(super) struct Permit {
    target: Target,
    policy: watch::Receiver<EgressPolicy>,
    given: EgressPolicy,
}

impl Permit {
    pub(super) fn ask(control: &EgressControl, target: &Target) -> Result<Self, Refusal> {
        let mut policy = control.policy();
        let given = policy.borrow_and_update().clone();
        refused(&given, target).map_or(Ok(()), Err)?;
        Ok(Self {
            target: target.clone(),
            policy,
            given,
        })
    }

    /// The policy that permitted it.
    pub(super) fn policy(&self) -> &EgressPolicy {
        &self.given
    }

    /// Ready when a policy does not permit it any more. What was not looked into may ask for another host than it was
    /// opened for, so no list permits that.
    pub(super) async fn withdrawn(mut self, is_inspected: bool) -> Refusal {
        loop {
            if self.policy.changed().await.is_err() {
                // Nobody can change it any more.
                return std::future::pending().await;
            }
            let now = self.policy.borrow_and_update().clone();
            if let Some(refusal) = refused(&now, &self.target) {
                return refusal;
            }
            let by_name = matches!(self.target.host(), glass_types::Host::Name(_));
            if matches!(now, EgressPolicy::Allowlist { .. }) && by_name && !is_inspected {
                return Refusal::NotListed;
            }
        }
    }
}

pub(super) fn refused(policy: &EgressPolicy, target: &Target) -> Option<Refusal> {
    if policy.permits(target.host(), target.port()) {
        return None;
    }
    Some(match policy {
        EgressPolicy::None => Refusal::Closed,
        EgressPolicy::Open | EgressPolicy::Allowlist { .. } => Refusal::NotListed,
    })
}
