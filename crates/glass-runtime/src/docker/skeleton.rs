//! The uppermost layer of every image: what is mounted on, so that nothing is ever mounted on what an image made.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::RuntimeError;

/// Another list needs another name: the layer is never written again.
const NAME: &str = "skeleton-1";

const DIRECTORIES: [(&str, u32); 18] = [
    ("", 0o755),
    // What is in it is for the sandbox's root alone.
    (".glasshouse", 0o700),
    (".glasshouse/socket", 0o700),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("home/dev", 0o755),
    ("home/dev/workspace", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/lib/glasshouse", 0o700),
    ("var/tmp", 0o1777),
];

const FILES: [&str; 4] = [
    ".glasshouse/guest",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

/// Makes the layer, unless it is there, and says where it is.
pub(super) fn make(state_dir: &Path) -> Result<PathBuf, RuntimeError> {
    let layer = state_dir.join(NAME);
    if !layer.exists() {
        let fresh = state_dir.join(format!("{NAME}.{}", std::process::id()));
        build(&fresh)
            .and_then(|()| fs::rename(&fresh, &layer))
            .map_err(|source| RuntimeError::Io {
                path: layer.clone(),
                source,
            })?;
    }
    Ok(layer)
}

fn build(layer: &Path) -> io::Result<()> {
    glass_launch::remove_tree(layer)?;
    for (name, mode) in DIRECTORIES {
        let path = layer.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        chown(&path, Some(0), Some(0))?;
    }
    for name in FILES {
        let path = layer.join(name);
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        chown(&path, Some(0), Some(0))?;
    }
    Ok(())
}
