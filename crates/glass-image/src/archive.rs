//! Archives that come from outside, and may be hostile.

use std::io;

use crate::digest::Digest;

pub(crate) mod compression;
pub(crate) mod entries;
pub(crate) mod tree;
pub(crate) mod unpack;

/// How much an archive may hold. A small archive can unpack to any size, so there has to be an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files of one image, unpacked.
    pub bytes: u64,
    /// Files, directories and links of one image.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 32 << 30,
            entries: 4_000_000,
        }
    }
}

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no archive, or it ends too early.
    #[error("the archive cannot be read: it is cut off, damaged or of another kind")]
    Unreadable(#[source] std::io::Error),
    /// One entry is not acceptable.
    #[error("entry `{entry}` of the archive is refused: {reason}")]
    Entry {
        /// Its path.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// One entry could not be made.
    #[error("entry `{entry}` of the archive cannot be unpacked")]
    Unpack {
        /// Its path.
        entry: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It holds too much.
    #[error(
        "the archive is refused at entry `{entry}`: an image may hold no more than {limit} {unit}"
    )]
    TooLarge {
        /// Where the limit was passed.
        entry: String,
        /// How many.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Bytes are not what their name promises.
    #[error("{what} has digest {found}, but {expected} was promised; it is damaged or forged")]
    Digest {
        /// Which blob or layer.
        what: String,
        /// As the document that names it says.
        expected: Digest,
        /// As computed.
        found: Digest,
    },
    /// A document of the image is missing or wrong.
    #[error("{what} of the image is not usable: {reason}")]
    Document {
        /// Which.
        what: String,
        /// How.
        reason: String,
    },
}

impl ArchiveError {
    pub(crate) fn entry(path: &[u8], reason: &'static str) -> Self {
        Self::Entry {
            entry: shown(path),
            reason,
        }
    }

    pub(crate) fn unpack(path: &[u8], error: impl Into<io::Error>) -> Self {
        Self::Unpack {
            entry: shown(path),
            source: error.into(),
        }
    }
    pub(crate) fn document(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Document {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// A path of an archive for people: of bounded length, without control characters.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut shown: String = text
        .chars()
        .take(200)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().count() > 200 {
        shown.push('…');
    }
    shown
}
