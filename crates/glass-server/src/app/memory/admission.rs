//! Whether one more sandbox fits.

use std::sync::{Arc, Mutex, PoisonError};

use super::host::{HostMemory, Reading};

/// Percent of the host's memory that stays free when a sandbox is let in.
const FLOOR_PERCENT: u64 = 10;

/// Lets sandboxes in, or not.
#[derive(Debug)]
pub(crate) struct Admission {
    host: Arc<dyn HostMemory>,
    /// Bytes promised to sandboxes that are being started and have not taken them yet.
    reserved: Arc<Mutex<u64>>,
}

/// Memory that is kept for a sandbox until it has started. By then it shows in the host's own count.
#[derive(Debug)]
pub(crate) struct Reservation {
    reserved: Arc<Mutex<u64>>,
    bytes: u64,
}

/// How much there is, and how much would be needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// Bytes that a sandbox may take now.
    pub(crate) free: u64,
    /// Bytes that this one is expected to take.
    pub(crate) needed: u64,
}

impl Admission {
    pub(crate) fn new(host: Arc<dyn HostMemory>) -> Self {
        Self {
            host,
            reserved: Arc::default(),
        }
    }

    /// The memory now. A host that does not say is taken to have enough: its kernel has the last word anyway.
    pub(crate) fn reading(&self) -> Reading {
        self.host.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the host does not say how much memory it has");
            Reading {
                total: u64::MAX,
                available: u64::MAX,
                stalled: None,
            }
        })
    }

    /// Keeps memory for a sandbox that is expected to take so many bytes, if it fits.
    pub(crate) fn reserve(&self, needed: u64) -> Result<Reservation, Shortage> {
        let reading = self.reading();
        let floor = reading.total / 100 * FLOOR_PERCENT;
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let free = reading
            .available
            .saturating_sub(floor)
            .saturating_sub(*reserved);
        if needed > free {
            return Err(Shortage { free, needed });
        }
        *reserved += needed;
        Ok(Reservation {
            reserved: Arc::clone(&self.reserved),
            bytes: needed,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl HostMemory for Fixed {
        fn read(&self) -> std::io::Result<Reading> {
            Ok(Reading {
                total: 1000,
                available: self.0,
                stalled: None,
            })
        }
    }

    #[test]
    fn what_is_on_its_way_in_counts_and_the_floor_stays_free() {
        let admission = Admission::new(Arc::new(Fixed(400)));
        let first = admission.reserve(200).unwrap();
        assert_eq!(
            admission.reserve(101).unwrap_err(),
            Shortage {
                free: 100,
                needed: 101
            }
        );
        let second = admission.reserve(100).unwrap();
        assert!(admission.reserve(1).is_err());
        drop((first, second));
        assert!(admission.reserve(300).is_ok());
    }

    #[test]
    fn below_the_floor_nobody_gets_in() {
        assert!(Admission::new(Arc::new(Fixed(100))).reserve(1).is_err());
    }
}
