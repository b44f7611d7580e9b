//! The programs that the runtime carries, written out so that they can be executed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::RuntimeError;
use crate::state::hex;

const GUEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/glass-guest"));
const LAUNCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/glass-launch"));

/// Where the programs of this build lie.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) guest: PathBuf,
    pub(crate) launcher: PathBuf,
    pub(crate) seccomp: PathBuf,
}

impl Programs {
    /// Writes the programs below `state_dir/bin`, in a directory named after their content: those of other versions
    /// may still run in sandboxes, so none is ever overwritten.
    pub(crate) fn write(state_dir: &Path, seccomp: &[u8]) -> Result<Self, RuntimeError> {
        let mut hash = Sha256::new();
        for part in [GUEST, LAUNCHER, seccomp] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let digest = hex(&hash.finalize()[..16]);
        let dir = state_dir.join("bin").join(digest);
        let programs = Self {
            guest: dir.join("glass-guest"),
            launcher: dir.join("glass-launch"),
            seccomp: dir.join("seccomp.bpf"),
        };
        make_dir_all(&dir, 0o755)?;
        for (path, content, mode) in [
            (&programs.guest, GUEST, 0o755),
            (&programs.launcher, LAUNCHER, 0o755),
            (&programs.seccomp, seccomp, 0o600),
        ] {
            if !path.exists() {
                write_atomically(path, content, mode).map_err(|source| RuntimeError::Io {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(programs)
    }
}

/// Makes a directory and its parents.
pub(crate) fn make_dir_all(path: &Path, mode: u32) -> Result<(), RuntimeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| RuntimeError::Io {
            path: path.to_owned(),
            source,
        })
}

/// Writes a file that is there either whole or not at all.
pub(crate) fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    // Two servers may start at once over one directory; each writes its own and the last rename wins.
    name.push(format!(".{}.new", std::process::id()));
    let fresh = PathBuf::from(name);
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&fresh, path)
}
