//! The first thing that went wrong, kept beside the library.
//!
//! The library warns and goes on where a file or a pack fails. For an archive that is to replace the files nothing
//! that failed is a warning, so both ends, the disk and the store, note what happened here, and the work is looked at
//! only when nothing was noted.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ArchiveError;

#[derive(Debug, Clone, Default)]
pub(crate) struct Fault(Arc<Mutex<Option<ArchiveError>>>);

impl Fault {
    /// Notes an error; the first one counts.
    pub(crate) fn note(&self, error: ArchiveError) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }

    /// Fails with what was noted.
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}
