//! What the host says of its memory.

use std::fmt::Debug;
use std::io;

/// The host's memory at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Bytes that there are.
    pub total: u64,
    /// Bytes that can be had without swapping: `MemAvailable`.
    pub available: u64,
    /// Percent of the last ten seconds in which every task that could run waited for memory. `None` where the kernel
    /// does not measure it.
    pub stalled: Option<f64>,
}

/// Where readings come from.
pub trait HostMemory: Send + Sync + Debug {
    /// The memory now. Called about once a second.
    ///
    /// # Errors
    /// When the host does not say.
    fn read(&self) -> io::Result<Reading>;
}

/// The host's own: `/proc/meminfo` and `/proc/pressure/memory`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcMemory;

impl HostMemory for ProcMemory {
    fn read(&self) -> io::Result<Reading> {
        let text = std::fs::read_to_string("/proc/meminfo")?;
        let (total, available) = meminfo(&text)
            .ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal or MemAvailable"))?;
        // Absent where the kernel was built or started without it.
        let pressure = std::fs::read_to_string("/proc/pressure/memory").ok();
        Ok(Reading {
            total,
            available,
            stalled: pressure.as_deref().and_then(full_avg10),
        })
    }
}

fn meminfo(text: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some((bytes("MemTotal:")?, bytes("MemAvailable:")?))
}

/// <https://docs.kernel.org/accounting/psi.html>
fn full_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("full "))?;
    let value = line
        .split(' ')
        .find_map(|word| word.strip_prefix("avg10="))?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let text = "MemTotal:       24000 kB\nMemFree:   1 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(meminfo(text), Some((24_000 << 10, 12_000 << 10)));
        assert_eq!(meminfo("MemTotal: lots\n"), None);
        let text = "some avg10=1.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=12.50 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(full_avg10(text), Some(12.5));
        assert_eq!(full_avg10("some avg10=1.00\n"), None);
    }

    #[test]
    fn this_host_says_something() {
        let reading = ProcMemory.read().unwrap();
        assert!(reading.available > 0 && reading.available <= reading.total);
    }
}
