//! Secrets in the data directory, which only the server's user reads.

use std::fs::Permissions;
use std::io::{ErrorKind, Result, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Reads a secret, or makes it the first time. Written whole under another name first: a crash leaves no half secret.
pub(crate) fn load_or_make(path: &Path, make: impl FnOnce() -> String) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            return Ok(text);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = make();
    let partial = path.with_added_extension("partial");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    Ok(text)
}
