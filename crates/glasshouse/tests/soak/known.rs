//! What the test knows: which sandboxes and snapshots there must be, and what is in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

/// Name and digest of every file that was acknowledged.
pub(crate) type Files = BTreeMap<String, String>;

/// One sandbox. Whoever works on it holds the lock, so what is known stays true.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) files: Files,
    /// Snapshots of it that were acknowledged, and what they hold.
    pub(crate) snapshots: Vec<(String, Files)>,
    pub(crate) is_gone: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Vec<Arc<tokio::sync::Mutex<Sandbox>>>>>);

impl Known {
    pub(crate) fn add(&self, id: String, files: Files) {
        let sandbox = Sandbox {
            id,
            files,
            snapshots: Vec::new(),
            is_gone: false,
        };
        self.lock().push(Arc::new(tokio::sync::Mutex::new(sandbox)));
    }

    pub(crate) fn all(&self) -> Vec<Arc<tokio::sync::Mutex<Sandbox>>> {
        self.lock().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// One that nobody works on; nothing when the chosen one is busy.
    pub(crate) fn any(&self, random: &mut StdRng) -> Option<tokio::sync::OwnedMutexGuard<Sandbox>> {
        let chosen = {
            let all = self.lock();
            if all.is_empty() {
                return None;
            }
            Arc::clone(&all[random.random_range(0..all.len())])
        };
        chosen.try_lock_owned().ok().filter(|one| !one.is_gone)
    }

    /// The id of any, busy or not, for whoever kills.
    pub(crate) fn victim(&self, random: &mut StdRng) -> Option<String> {
        let all = self.all();
        let chosen = all.get(random.random_range(0..all.len().max(1)))?;
        chosen.try_lock().ok().map(|sandbox| sandbox.id.clone())
    }

    pub(crate) fn forget(&self, id: &str) {
        self.lock().retain(|one| {
            // One that is busy is another's, and not the one that is gone.
            one.try_lock().map_or(true, |one| one.id != id)
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<tokio::sync::Mutex<Sandbox>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}
