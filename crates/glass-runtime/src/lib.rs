//! The edge of the world: where sandboxes really are.
//!
//! [`Runtime`] is what the server knows of it. `native` makes OCI containers on this kernel without a daemon;
//! `docker` has a Docker daemon make them; `sim` runs guests as plain child processes, without isolation, for tests and laptops.
#![deny(missing_docs)]

#[cfg(target_os = "linux")]
pub mod docker;
mod health;
mod locks;
#[cfg(target_os = "linux")]
pub mod native;
mod process;
mod programs;
#[cfg(target_os = "linux")]
mod ready;
pub mod sim;
mod socket;
mod state;
mod tunnel;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use glass_types::{Isolation, Limits, RootMode, SandboxId, SnapshotId};
use tokio::io::{AsyncRead, AsyncWrite};

mod guest;

pub use tunnel::tunnel;

pub use guest::{
    ExecOutput, ExecRequest, FileStream, GuestClient, GuestError, GuestStream, MAX_OUTPUT,
    StartedProcess,
};

/// A byte stream into a sandbox.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed [`Stream`].
pub type BoxStream = Box<dyn Stream>;

/// All that a backend needs to make or to make again a sandbox.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// Which.
    pub id: SandboxId,
    /// Unpacked layers of its image, the lowest first. Never written to.
    pub layers: Vec<PathBuf>,
    /// Environment of every process, the image's own first, the owner's over it.
    pub env: BTreeMap<String, String>,
    /// Kernel limits.
    pub limits: Limits,
    /// TCP port on 127.0.0.1 inside the sandbox at which the guest offers the gateway.
    pub gateway_port: u16,
    /// What becomes of files outside of its home.
    pub root: RootMode,
    /// What stands between it and the host's kernel.
    pub isolation: Isolation,
    /// The snapshot its files begin with; those of the image unless given. Only `create` looks at it.
    pub from: Option<SnapshotId>,
}

/// What a backend knows of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Which.
    pub id: SandboxId,
    /// How it is.
    pub activity: Activity,
}

/// Whether its processes exist and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Its guest runs.
    Running,
    /// Its processes exist and get no CPU.
    Frozen,
    /// It has no process any more, and nobody has tidied up after them yet, as a stop does.
    Ended,
    /// It has files and no process.
    Stopped,
}

/// What a sandbox uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory charged to it.
    pub memory_bytes: u64,
    /// CPU time since its start, in microseconds.
    pub cpu_usec: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes that its files take, where the storage knows.
    pub disk_bytes: Option<u64>,
}

/// A snapshot that exists here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// Which.
    pub id: SnapshotId,
    /// Bytes of files in it. What it shares with others is counted for each.
    pub bytes: u64,
}

impl SnapshotStatus {
    /// From what a look at its files gave: what is not there is no snapshot.
    fn of(id: &SnapshotId, path: &Path, bytes: std::io::Result<u64>) -> Result<Self, RuntimeError> {
        match bytes {
            Ok(bytes) => Ok(Self {
                id: id.clone(),
                bytes,
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(RuntimeError::UnknownSnapshot(id.clone()))
            }
            Err(source) => Err(RuntimeError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

/// Where the files of a sandbox lie on the host while it has no process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskFiles {
    /// An ext4 file system in this file.
    Image(PathBuf),
    /// This directory.
    Directory(PathBuf),
}

/// The ability to keep the files of a sandbox as they are this instant, and to begin others with them.
///
/// A snapshot belongs to nobody: it stays when its sandbox goes. A sandbox begins with one by
/// [`SandboxSpec::from`]. Every operation may be repeated.
#[async_trait]
pub trait Snapshots: Send + Sync + Debug {
    /// Keeps the files of a sandbox, running, frozen or stopped. A running one stands still for the instant, and its
    /// file system is in order.
    async fn take(
        &self,
        sandbox: &SandboxId,
        snapshot: &SnapshotId,
    ) -> Result<SnapshotStatus, RuntimeError>;

    /// Puts the files of a snapshot in the place of a sandbox's own. The sandbox has no process.
    async fn restore(&self, sandbox: &SandboxId, snapshot: &SnapshotId)
    -> Result<(), RuntimeError>;

    /// Removes a snapshot. What others share with it stays theirs.
    async fn delete(&self, snapshot: &SnapshotId) -> Result<(), RuntimeError>;

    /// All snapshots that exist here.
    async fn list(&self) -> Result<Vec<SnapshotStatus>, RuntimeError>;
}

/// Why the world would not do it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No such sandbox here.
    #[error("sandbox {0} does not exist in the runtime")]
    Unknown(SandboxId),
    /// It exists but has no process.
    #[error("sandbox {0} is not running")]
    NotRunning(SandboxId),
    /// Nothing listens on the port inside the sandbox.
    #[error("nothing listens on port {port} in sandbox {id}")]
    PortClosed {
        /// Which sandbox.
        id: SandboxId,
        /// Which port.
        port: u16,
    },
    /// The host lacks something. The remedy is for people.
    #[error("{what} is missing on this host: {remedy}")]
    Unsupported {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// No such snapshot here.
    #[error("snapshot {0} does not exist in the runtime")]
    UnknownSnapshot(SnapshotId),
    /// A disk as large as allowed would not hold the snapshot.
    #[error("snapshot {snapshot} needs a disk of {} MiB, and the limit is {} MiB", needed >> 20, limit >> 20)]
    DiskTooSmall {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The least size of a disk for it, in bytes.
        needed: u64,
        /// What was allowed, in bytes.
        limit: u64,
    },
    /// A disk as large as asked for cannot be made of the snapshot's on this host.
    #[error("snapshot {snapshot} has a disk of {} MiB, which the server may not grow to {} MiB: that takes the capability CAP_SYS_RESOURCE", size >> 20, limit >> 20)]
    DiskCannotGrow {
        /// Which snapshot.
        snapshot: SnapshotId,
        /// The size of its disk, in bytes.
        size: u64,
        /// What was asked for, in bytes.
        limit: u64,
    },
    /// It has processes, and the operation needs it without.
    #[error("sandbox {0} is running")]
    StillRunning(SandboxId),
    /// Its guest ended while it was being started.
    #[error(
        "the guest of sandbox {id} ended while it was being started{}",
        words(said)
    )]
    Ended {
        /// Which sandbox.
        id: SandboxId,
        /// What the guest said last; often nothing.
        said: String,
    },
    /// A step failed.
    #[error("{step} of sandbox {id} failed: {reason}")]
    Step {
        /// Which sandbox.
        id: SandboxId,
        /// What was being done: `mount overlay`, `join cgroup`, …
        step: &'static str,
        /// What the kernel or the launcher said.
        reason: String,
    },
    /// Input or output of the runtime's own files.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// Turns an error into one that names the step.
fn step<E: std::fmt::Display>(
    id: &SandboxId,
    step: &'static str,
) -> impl FnOnce(E) -> RuntimeError {
    let id = id.clone();
    move |e| RuntimeError::Step {
        id,
        step,
        reason: e.to_string(),
    }
}

/// Does what blocks where that holds nobody up.
async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

fn words(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!("; it said: {said}")
    }
}

/// A place where sandboxes live.
///
/// Every operation may be repeated: a second `create`, `start`, `stop` or `destroy` finds nothing left to do.
/// Cancelling a call leaves the sandbox in a state that the same call, or `destroy`, mends.
#[async_trait]
pub trait Runtime: Send + Sync + Debug {
    /// `native`, `docker` or `sim`.
    fn name(&self) -> &'static str;

    /// Makes the files of a sandbox: its home, seeded from the image. No process yet.
    async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError>;

    /// Starts the guest and returns when it answers.
    async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError>;

    /// Takes the CPU from all its processes; their memory stays.
    async fn freeze(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Gives the CPU back.
    async fn thaw(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// Ends all its processes: asks first, kills after `grace`. Files stay.
    async fn stop(&self, id: &SandboxId, grace: std::time::Duration) -> Result<(), RuntimeError>;

    /// Removes all it has: processes, mounts, cgroups, files.
    async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// All sandboxes that exist here, also those that this process did not make.
    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError>;

    /// What it uses now.
    async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError>;

    /// Waits until the sandbox has no guest any more. Returns at once when it has none.
    async fn exited(&self, id: &SandboxId) -> Result<(), RuntimeError>;

    /// What its guest has said last, for people to read; before a stop takes it away.
    async fn last_words(&self, id: &SandboxId) -> Option<String> {
        let _ = id;
        None
    }

    /// A connection to a TCP port on the loopback of the sandbox, 127.0.0.1 first, then `::1`.
    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError>;

    /// A connection to its guest's HTTP server.
    async fn guest(&self, id: &SandboxId) -> Result<BoxStream, RuntimeError>;

    /// The socket by which this sandbox, and no other, reaches the gateway. Binds it anew, so that connections made
    /// from now on come to this process.
    async fn gateway(&self, id: &SandboxId) -> Result<tokio::net::UnixListener, RuntimeError>;

    /// The ability to make snapshots, where this runtime has it.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }

    /// Whether it can give a sandbox this isolation. The remedy of the error is for people.
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] names the tier.
    fn supports(&self, isolation: Isolation) -> Result<(), RuntimeError> {
        match isolation {
            Isolation::Container => Ok(()),
            Isolation::Gvisor => Err(RuntimeError::Unsupported {
                what: format!("the isolation tier {isolation}"),
                remedy: format!(
                    "the {} runtime cannot give it; ask for another tier",
                    self.name()
                ),
            }),
            Isolation::MicroVm => Err(no_microvm()),
        }
    }

    /// Gives memory of a sandbox that does not run back to the host: swaps out or drops what can be had again. Answers
    /// how many bytes; 0 where the kernel cannot.
    async fn reclaim(&self, id: &SandboxId) -> Result<u64, RuntimeError> {
        let _ = id;
        Ok(0)
    }

    /// Whether the host can read the files of sandboxes without processes, so that [`disk`](Self::disk) names them.
    fn has_disks(&self) -> bool {
        false
    }

    /// Where the files of a sandbox without processes lie, for reading them into an archive and writing them from one.
    /// `None` where they are not the host's to read.
    async fn disk(&self, id: &SandboxId) -> Result<Option<DiskFiles>, RuntimeError> {
        let _ = id;
        Ok(None)
    }
}

/// The tier that no runtime has.
fn no_microvm() -> RuntimeError {
    RuntimeError::Unsupported {
        what: format!("the isolation tier {}", Isolation::MicroVm),
        remedy: "there is no backend for it yet; ask for another tier".to_owned(),
    }
}
