//! What an archive may ask for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use glass_guest_protocol::connect::RpcError;

use crate::fault;

/// Entries in one archive.
pub(super) const ENTRIES: u64 = 500_000;
/// An archive of so many bytes may always unpack to this much.
const FREE: u64 = 64 << 20;
/// Beyond that, a byte of the archive may become so many. What people pack becomes three to thirty.
const RATIO: u64 = 200;

/// An archive that is refused: which entry and why.
pub(super) fn refused(entry: &[u8], reason: impl std::fmt::Display) -> RpcError {
    let mut shown = OsStr::from_bytes(entry).display().to_string();
    if shown.len() > 300 {
        let cut = shown.floor_char_boundary(300);
        shown.truncate(cut);
        shown.push('…');
    }
    fault::invalid(format!(
        "the archive is refused at {shown:?}: {reason}; nothing was changed"
    ))
}

/// Counts what is unpacked.
#[derive(Debug)]
pub(super) struct Limits {
    entries: u64,
    /// Names and attributes that stand before entries; hostile archives have nothing else.
    records: u64,
    bytes: u64,
    /// Bytes that the sandbox's disk had free.
    space: u64,
    /// Bytes of the archive that were read so far.
    read: Arc<AtomicU64>,
}

impl Limits {
    pub(super) fn new(space: u64, read: Arc<AtomicU64>) -> Self {
        Self {
            entries: 0,
            records: 0,
            bytes: 0,
            space,
            read,
        }
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One more entry, which says that it has `size` bytes.
    pub(super) fn entry(&mut self, name: &[u8], size: u64) -> Result<(), RpcError> {
        self.entries += 1;
        self.count(name)?;
        if self.bytes.saturating_add(size) > self.space {
            return Err(fault::exhausted(format!(
                "no space left in the sandbox for {:?} with {size} bytes, remove files or raise its disk limit; nothing \
                 was changed",
                OsStr::from_bytes(name)
            )));
        }
        Ok(())
    }

    /// One more record before the entry that comes after `name`.
    pub(super) fn record(&mut self, name: &[u8]) -> Result<(), RpcError> {
        self.records += 1;
        self.count(name)
    }

    fn count(&self, name: &[u8]) -> Result<(), RpcError> {
        if self.entries.max(self.records) > ENTRIES {
            return Err(refused(name, format!("it has more than {ENTRIES} entries")));
        }
        Ok(())
    }

    /// So many bytes more, really.
    pub(super) fn bytes_more(&mut self, name: &[u8], bytes: u64) -> Result<(), RpcError> {
        self.bytes += bytes;
        let read = self.read.load(Ordering::Relaxed);
        if self.bytes > FREE.saturating_add(read.saturating_mul(RATIO)) {
            return Err(refused(
                name,
                format!(
                    "{read} bytes of it unpack to more than {}, which is more than {RATIO} times as much",
                    self.bytes
                ),
            ));
        }
        Ok(())
    }
}
