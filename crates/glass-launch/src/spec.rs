//! The launcher's input and output.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Name of the guest's socket in the sandbox's directory.
pub const SOCKET_FILE: &str = "guest.sock";
/// Name of the file in the sandbox's directory that has what the guest said. It is there from the first launch on.
pub const LOG_FILE: &str = "guest.log";
/// Name of the file in the sandbox's directory that is locked while it is launched or removed.
pub const LOCK_FILE: &str = "lock";
/// Name of the file in the sandbox's directory that tells which process its init is.
pub const INIT_FILE: &str = "init.json";

/// Where a guest under gVisor binds its socket; on the host that is `guest/` in the sandbox's directory.
pub const GVISOR_SOCKETS: &str = "/run/guest";
/// How `runsc` is run.
///
/// It has no network but a loopback of its own, and no control group but those it was born in. Unix sockets in the
/// directories that the sandbox is given are the host's. What is written reaches the disk, and not a layer in memory.
pub const GVISOR_FLAGS: [&str; 5] = [
    "--network=none",
    "--ignore-cgroups",
    "--host-uds=all",
    "--overlay2=none",
    "--file-access-mounts=shared",
];

/// One container to start, as JSON on the launcher's standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The sandbox's id; also its host name.
    pub id: String,
    /// The sandbox's directory: holds `gateway/`, `mnt/` and, for [`Disk::Directory`], `disk/`.
    pub dir: PathBuf,
    /// Unpacked image layers, the lowest first.
    pub layers: Vec<PathBuf>,
    /// What holds the sandbox's own files.
    pub disk: Disk,
    /// The guest program.
    pub guest: PathBuf,
    /// File with the seccomp programs, see [`LaunchSpec::encode_filters`].
    pub seccomp: PathBuf,
    /// First of the 65536 host user and group ids that are the sandbox's own.
    pub uid_base: u32,
    /// Directories of the cgroups that the container joins.
    pub cgroups: Vec<PathBuf>,
    /// The guest's environment.
    pub env: Vec<(String, String)>,
    /// Whether what is written outside of the home persists and programs may gain the rights of root in the sandbox.
    pub writable_root: bool,
    /// Files that one process may have open.
    pub open_files: u32,
    /// The variable that tells the guest of the sockets of its way out, see [`LaunchSpec::sockets`]. Programs that know
    /// of no proxy have no way out without it.
    pub way_out: Option<String>,
    /// The program `runsc`, where gVisor is to answer the system calls.
    pub gvisor: Option<PathBuf>,
    /// Leaves out all but namespaces and the root: the floor that starting a sandbox is measured against.
    pub bare: bool,
}

/// What holds a sandbox's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// The directory `disk/`; its size is not bounded.
    Directory,
    /// The file system in a file behind a loop device; its size is the bound.
    Image(PathBuf),
}

/// Which process is the init of a sandbox. A process id alone would soon be another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRecord {
    /// Process id on the host.
    pub pid: i32,
    /// Its start in clock ticks since boot.
    pub start_time: u64,
    /// The boot it was started in.
    pub boot_id: String,
}

/// The launcher's answer, as one line of JSON on its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchReport {
    /// The guest was executed. The steps until then, in their order.
    Started(Vec<StepTime>),
    /// The guest's process ended before it was the guest, without a word: somebody killed it.
    Ended,
    /// Nothing was started.
    Failed {
        /// What was being done.
        step: String,
        /// What the kernel said.
        reason: String,
    },
}

/// What one step took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub time: Duration,
}

impl LaunchSpec {
    /// What the guest is told in the variable [`LaunchSpec::way_out`]: how many listeners it inherits from descriptor 4
    /// on, and how many sockets for DNS questions after them. One more follows, which it keeps open.
    #[must_use]
    pub fn sockets(tcp: usize, udp: usize) -> String {
        format!("{tcp},{udp}")
    }

    /// Puts seccomp programs into one file: each a count of instructions as a little-endian u32, then the instructions.
    #[must_use]
    pub fn encode_filters(filters: &[Vec<u64>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for filter in filters {
            let count = u32::try_from(filter.len()).expect("the kernel takes at most 4096");
            bytes.extend_from_slice(&count.to_le_bytes());
            for instruction in filter {
                bytes.extend_from_slice(&instruction.to_ne_bytes());
            }
        }
        bytes
    }

    /// Takes the programs out again.
    ///
    /// # Errors
    /// When the file ends in the middle of a program.
    pub fn decode_filters(mut bytes: &[u8]) -> io::Result<Vec<Vec<u64>>> {
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "seccomp file is cut");
        let mut filters = Vec::new();
        while !bytes.is_empty() {
            let (count, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
            bytes = rest;
            let mut filter = Vec::new();
            for _ in 0..u32::from_le_bytes(*count) {
                let (word, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
                filter.push(u64::from_ne_bytes(*word));
                bytes = rest;
            }
            filters.push(filter);
        }
        Ok(filters)
    }
}

impl InitRecord {
    /// Describes a process that exists now.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            pid,
            start_time: start_time(pid)?,
            boot_id: boot_id()?,
        })
    }

    /// Reads the record from a sandbox's directory; `None` when there is none or it makes no sense.
    #[must_use]
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(INIT_FILE)).ok()?).ok()
    }

    /// Whether the process of the record still exists. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|now| now == self.boot_id)
            && start_time(self.pid).is_ok_and(|now| now == self.start_time)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

fn start_time(pid: i32) -> io::Result<u64> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(gone)?;
    let mut fields = rest.split(' ');
    if matches!(fields.next(), Some("Z" | "X") | None) {
        return Err(gone());
    }
    fields.nth(18).and_then(|f| f.parse().ok()).ok_or_else(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_come_back_and_a_cut_file_is_an_error() {
        let filters = vec![vec![1, u64::MAX], vec![], vec![7]];
        let bytes = LaunchSpec::encode_filters(&filters);
        assert_eq!(LaunchSpec::decode_filters(&bytes).unwrap(), filters);
        assert!(LaunchSpec::decode_filters(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let me = InitRecord::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(me.is_alive());
        assert!(
            !InitRecord {
                start_time: me.start_time + 1,
                ..me.clone()
            }
            .is_alive()
        );
        assert!(
            !InitRecord {
                boot_id: "another".to_owned(),
                ..me
            }
            .is_alive()
        );
    }
}
