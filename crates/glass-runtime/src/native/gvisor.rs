//! The tier `gvisor`: the same sandbox with `runsc` between it and the host's kernel.
//!
//! Such a guest makes its socket itself, in a directory of the sandbox's; that there is one tells that it is of this tier.

mod probe;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use glass_launch::remove_tree;
use glass_types::{Isolation, Limits, RootMode};

use super::sandbox::SandboxDir;
use crate::{RuntimeError, SandboxSpec};
pub(super) use probe::probe;

/// What gives this host the tier.
pub(super) const REMEDY: &str = "install the package runsc, in a version that runs here,";
const SOCKETS: &str = "guest";
/// What gVisor has of its own: its threads, and processes in which the sandbox's run.
const PROCESSES: u32 = 512;

/// Whether this host gives the tier. Found out when it is first asked for, once in the life of the server.
#[derive(Debug, Default)]
pub(super) struct Gvisor(OnceLock<Result<PathBuf, String>>);

impl Gvisor {
    /// The program that gives it.
    pub(super) fn program(&self) -> Result<&Path, RuntimeError> {
        let probed = self.0.get_or_init(probe::probe);
        probed
            .as_deref()
            .map_err(|reason| RuntimeError::Unsupported {
                what: format!("the isolation tier {} ({reason})", Isolation::Gvisor),
                remedy: format!("{REMEDY} and start the server again, or ask for another tier"),
            })
    }
}

/// What the tier cannot give is refused, too.
pub(super) fn check(spec: &SandboxSpec) -> Result<(), RuntimeError> {
    if spec.isolation == Isolation::Gvisor && spec.root == RootMode::Writable {
        return Err(RuntimeError::Unsupported {
            what: "a writable root under the isolation tier gvisor".to_owned(),
            remedy: "gVisor gives no program the rights of its file's owner, as sudo needs: ask for the root mode throw-away, or for another tier".to_owned(),
        });
    }
    Ok(())
}

/// With what gVisor itself takes; memory and CPU of it are the sandbox's.
pub(super) fn limits(spec: &SandboxSpec) -> Limits {
    let own = match spec.isolation {
        Isolation::Gvisor => PROCESSES,
        Isolation::Container | Isolation::MicroVm => 0,
    };
    Limits {
        pids: spec.limits.pids.saturating_add(own),
        ..spec.limits
    }
}

/// The directory of the guest's socket, of a sandbox that was last started in this tier.
pub(super) fn sockets(dir: &SandboxDir) -> Option<PathBuf> {
    Some(dir.path.join(SOCKETS)).filter(|path| path.is_dir())
}

/// Makes or removes that directory before a start. It is the guest's, which is root of the sandbox.
pub(super) fn prepare(
    dir: &SandboxDir,
    isolation: Isolation,
    uid_base: u32,
) -> Result<(), RuntimeError> {
    let path = dir.path.join(SOCKETS);
    remove_tree(&path)
        .and_then(|()| match isolation {
            Isolation::Gvisor => {
                fs::DirBuilder::new().mode(0o700).create(&path)?;
                chown(&path, Some(uid_base), Some(uid_base))
            }
            Isolation::Container | Isolation::MicroVm => Ok(()),
        })
        .map_err(|e: io::Error| dir.error(SOCKETS, e))
}
