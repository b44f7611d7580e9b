//! One operation at a time on each sandbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use glass_types::SandboxId;
use tokio::sync::OwnedMutexGuard;

/// A lock for each sandbox that was ever asked for and not forgotten.
#[derive(Debug, Default)]
pub(crate) struct Locks(Mutex<HashMap<SandboxId, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    pub(crate) async fn lock(&self, id: &SandboxId) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(id.clone())
                .or_default(),
        );
        lock.lock_owned().await
    }

    /// For a sandbox that exists no more. Whoever waits for it goes on waiting for the same lock.
    pub(crate) fn forget(&self, id: &SandboxId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}
