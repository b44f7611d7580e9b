//! What a sandbox may use at most.

/// Upper bounds that the kernel enforces on one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory and swap together, in bytes.
    pub memory_bytes: u64,
    /// CPU time in thousandths of one core: 1500 is one and a half cores.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes that files of the sandbox may take on disk. Enforced where the storage can.
    pub disk_bytes: u64,
    /// Its share of the CPU when there is not enough for all, as control groups of version 2 count: 1 to 10000.
    pub cpu_weight: u32,
    /// Open files of one process.
    pub open_files: u32,
    /// Bytes per second through its way out, each direction by itself.
    pub network_bytes_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 2 << 30,
            cpu_millis: 2000,
            pids: 512,
            disk_bytes: 10 << 30,
            cpu_weight: 100,
            open_files: 65_536,
            network_bytes_per_second: 64 << 20,
        }
    }
}
