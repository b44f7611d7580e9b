//! How large the directory of a zip is, before it is read: whatever it lists is held in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest directory.
const LIMIT: u64 = 128 << 20;

/// What the directory ends with, its length without the comment, and where it says how many entries there are.
const END: (&[u8], usize, usize) = (b"PK\x05\x06", 22, 10);
/// The same of the larger form, and what stands before [`END`] and says where that is.
const END64: (&[u8], usize, usize) = (b"PK\x06\x06", 56, 32);
const LOCATOR: (&[u8], usize, usize) = (b"PK\x06\x07", 20, 8);
/// The longest comment.
const COMMENT: usize = 65_535;

/// How many entries the file says it has; the largest number, for it may say several in a place where readers look.
pub(super) fn entries(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    // Somewhat more than readers look at.
    let room = (LOCATOR.1 + END.1 + COMMENT + 64) as u64;
    let start = length.saturating_sub(room);
    let mut tail = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, start)?;
    let mut most = 0;
    for (at, window) in tail.windows(END.1).enumerate() {
        if !window.starts_with(END.0) {
            continue;
        }
        most = most.max(number(&window[END.2..][..2]));
        let locator = at.checked_sub(LOCATOR.1).map(|before| &tail[before..at]);
        let Some(locator) = locator.filter(|locator| locator.starts_with(LOCATOR.0)) else {
            continue;
        };
        let mut end = [0; END64.1];
        let place = number(&locator[LOCATOR.2..][..8]);
        match file.read_exact_at(&mut end, place) {
            Ok(()) if end.starts_with(END64.0) => most = most.max(number(&end[END64.2..][..8])),
            // No reader finds it there.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            // A place beyond all places.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Ok(most)
}

fn number(bytes: &[u8]) -> u64 {
    let low_last = bytes.iter().rev();
    low_last.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A reader that gives no more than a directory has, until it is opened.
#[derive(Debug)]
pub(super) struct Metered<R> {
    reader: R,
    left: Arc<AtomicU64>,
}

/// Opens the reader that it was made with.
#[derive(Debug)]
pub(super) struct Meter(Arc<AtomicU64>);

impl<R> Metered<R> {
    pub(super) fn new(reader: R) -> (Self, Meter) {
        let left = Arc::new(AtomicU64::new(LIMIT));
        let meter = Meter(Arc::clone(&left));
        (Self { reader, left }, meter)
    }
}

impl Meter {
    /// From now on all is given.
    pub(super) fn open(self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == u64::MAX {
            return self.reader.read(buffer);
        }
        if left == 0 {
            let mib = LIMIT >> 20;
            return Err(io::Error::other(format!(
                "its directory is larger than {mib} MiB"
            )));
        }
        let room = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = self.reader.read(&mut buffer[..room])?;
        self.left.store(left - length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn said(bytes: &[u8]) -> u64 {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        entries(&file).unwrap()
    }

    fn end(entries: u16, comment: &[u8]) -> Vec<u8> {
        let mut bytes = [END.0, &[0; END.1 - 4]].concat();
        bytes[END.2..END.2 + 2].copy_from_slice(&entries.to_le_bytes());
        bytes.extend(comment);
        bytes
    }

    #[test]
    fn the_largest_number_that_is_said_counts() {
        assert_eq!(said(b""), 0);
        assert_eq!(said(&end(7, b"")), 7);
        assert_eq!(said(&end(7, &[b'c'; COMMENT])), 7);
        assert_eq!(said(&[end(900, b""), end(7, b"x")].concat()), 900);
        let mut large = [END64.0, &[0; END64.1 - 4]].concat();
        large[END64.2..END64.2 + 8].copy_from_slice(&70_000_u64.to_le_bytes());
        let mut locator = [LOCATOR.0, &[0; LOCATOR.1 - 4]].concat();
        let whole = |locator: &[u8]| [b"data", &large[..], locator, &end(u16::MAX, b"")].concat();
        locator[LOCATOR.2] = 4;
        assert_eq!(said(&whole(&locator)), 70_000);
        for place in [0, 5, 1 << 40, u64::MAX] {
            locator[LOCATOR.2..LOCATOR.2 + 8].copy_from_slice(&place.to_le_bytes());
            assert_eq!(said(&whole(&locator)), u64::from(u16::MAX), "{place}");
        }
    }

    #[test]
    fn no_more_is_read_than_a_directory_has() {
        let (mut reader, meter) = Metered::new(io::repeat(1));
        let (mut sink, mut reader) = (io::sink(), &mut reader);
        let error = io::copy(&mut reader, &mut sink).unwrap_err();
        assert!(error.to_string().contains("128 MiB"), "{error}");
        meter.open();
        assert_eq!(
            io::copy(&mut reader.take(1 << 20), &mut sink).unwrap(),
            1 << 20
        );
    }
}
