//! Why the archive would not do it.

use serde::{Deserialize, Serialize};

/// What went wrong. It crosses from the worker to the server, so it is plain text where others would keep a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveError {
    /// The store does not answer, or refuses.
    #[error("the archive at {location} cannot be used: {reason}; `glasshouse doctor` checks it")]
    Store {
        /// The store's URL.
        location: String,
        /// What it said.
        reason: String,
    },
    /// What the store gives back is not what was put there.
    #[error("the archive at {location} is damaged: {reason}; restore the store from a backup")]
    Damaged {
        /// The store's URL.
        location: String,
        /// What was found.
        reason: String,
    },
    /// The store was made with another key.
    #[error(
        "the archive at {location} was made with another key than {key}; put the right key there, or give another archive.url"
    )]
    Key {
        /// The store's URL.
        location: String,
        /// The file of the key.
        key: String,
    },
    /// The store has no such archive.
    #[error("the archive at {location} has no {archive}")]
    Missing {
        /// The store's URL.
        location: String,
        /// What was looked for.
        archive: String,
    },
    /// The files cannot be kept as they are, so they are not archived at all.
    #[error("{path} cannot be archived: {reason}")]
    Unfit {
        /// The file, below the sandbox's disk.
        path: String,
        /// What is in the way.
        reason: String,
    },
    /// Reading or writing the sandbox's disk.
    #[error("{path}: {reason}")]
    Disk {
        /// The file.
        path: String,
        /// What the kernel said.
        reason: String,
    },
    /// It was given up, because the files are wanted.
    #[error("archiving was given up, because the files are wanted")]
    Interrupted,
    /// The worker ended without an answer.
    #[error("the archive's worker ended without an answer: {0}")]
    Worker(String),
}

impl ArchiveError {
    pub(crate) fn disk(path: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self::Disk {
            path: path.to_string(),
            reason: reason.to_string(),
        }
    }
}
