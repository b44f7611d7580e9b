//! What the sandbox's policy said, for as long as it says so.

use glass_types::{EgressPolicy, Host};
use tokio::sync::watch;

use super::control::EgressControl;
use super::refusal::Refusal;
use super::target::Target;

/// The policy permitted a target.
pub(super) struct Permit {
    target: Target,
    policy: watch::Receiver<EgressPolicy>,
    is_listed: bool,
}

impl Permit {
    pub(super) fn ask(control: &EgressControl, target: &Target) -> Result<Self, Refusal> {
        let mut policy = control.policy();
        let is_listed = {
            let now = policy.borrow_and_update();
            permitted(&now, target)?;
            matches!(*now, EgressPolicy::Allowlist { .. })
        };
        Ok(Self {
            target: target.clone(),
            policy,
            is_listed,
        })
    }

    /// Whether a list permitted it, which is about its host and no other.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Ready when a policy does not permit it any more. What was not looked into may ask for another host than it was
    /// opened for, so no list permits that.
    pub(super) async fn withdrawn(mut self, is_inspected: bool) -> Refusal {
        loop {
            if self.policy.changed().await.is_err() {
                // Nobody can change it any more.
                return std::future::pending().await;
            }
            let now = self.policy.borrow_and_update();
            if let Err(refusal) = permitted(&now, &self.target) {
                return refusal;
            }
            let by_name = matches!(self.target.host(), Host::Name(_));
            if matches!(*now, EgressPolicy::Allowlist { .. }) && by_name && !is_inspected {
                return Refusal::NotListed;
            }
        }
    }
}

fn permitted(policy: &EgressPolicy, target: &Target) -> Result<(), Refusal> {
    let is_permitted = policy.permits(target.host(), target.port());
    is_permitted.then_some(()).ok_or_else(|| refusal(policy))
}

/// Whether the name may be asked for.
pub(super) fn known(control: &EgressControl, host: &Host) -> Result<(), Refusal> {
    let policy = control.policy();
    let now = policy.borrow();
    now.knows(host).then_some(()).ok_or_else(|| refusal(&now))
}

/// What a policy that does not permit something says.
fn refusal(policy: &EgressPolicy) -> Refusal {
    match policy {
        EgressPolicy::None => Refusal::Closed,
        EgressPolicy::Open | EgressPolicy::Allowlist { .. } => Refusal::NotListed,
    }
}
