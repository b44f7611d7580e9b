//! What server and worker say to each other.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ArchiveError;
use crate::location::Settings;

/// What the archive calls the files of one sandbox at one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArchiveRef(String);

impl fmt::Display for ArchiveRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ArchiveRef> for String {
    fn from(archive: ArchiveRef) -> Self {
        archive.0
    }
}

impl FromStr for ArchiveRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ArchiveRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Self(text))
        } else {
            Err(format!(
                "{text:?} is not the name of an archive: 64 characters of 0-9 and a-f"
            ))
        }
    }
}

/// Where the files of a sandbox without processes lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// An ext4 file system in this file.
    Image(PathBuf),
    /// This directory.
    Directory(PathBuf),
}

/// How far the work is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes done: read and stored, read back, or written.
    pub done: u64,
    /// Bytes in all; 0 while nobody knows.
    pub total: u64,
}

/// What was archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Its name; belongs into the sandbox's row before the local files go.
    pub archive: ArchiveRef,
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes that the store did not have yet, as they lie there.
    pub added: u64,
}

/// What was cleaned up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tidied {
    /// Archives that nobody wants, such as those of a server that was killed before it wrote their names down.
    pub forgotten: u64,
    /// Bytes that are no longer in the store.
    pub freed: u64,
}

/// One order to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) settings: Settings,
    pub(crate) key: PathBuf,
    pub(crate) work: Work,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Store { sandbox: String, disk: Disk },
    Fetch { archive: ArchiveRef, disk: Disk },
    Verify { archive: ArchiveRef },
    Tidy { wanted: Vec<ArchiveRef>, now: i64 },
    Check,
    Make,
}

/// A line of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Progress(Progress),
    Stored(Archived),
    Tidied(Tidied),
    Done,
    Failed(ArchiveError),
}
