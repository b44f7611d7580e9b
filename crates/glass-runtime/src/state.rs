//! What all runtimes keep in a state directory: `<state>/sandboxes/<id>/`, and a record in each that is made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glass_types::SandboxId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RuntimeError;
use crate::programs::write_atomically;

/// The record; written last, so a sandbox without it is half-made.
pub(crate) const RECORD: &str = "sandbox.json";

/// Where the directory of a sandbox is.
pub(crate) fn dir_of(state_dir: &Path, id: &SandboxId) -> PathBuf {
    state_dir.join("sandboxes").join(id.as_str())
}

/// All that have a directory.
pub(crate) fn sandboxes(state_dir: &Path) -> Result<Vec<SandboxId>, RuntimeError> {
    let path = state_dir.join("sandboxes");
    let read = || -> io::Result<Vec<SandboxId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&path)? {
            let name = entry?.file_name();
            ids.extend(
                name.to_str()
                    .and_then(|name| name.parse::<SandboxId>().ok()),
            );
        }
        Ok(ids)
    };
    read().map_err(|source| RuntimeError::Io {
        path: path.clone(),
        source,
    })
}

/// What is remembered of a sandbox; `None` when it is half-made.
pub(crate) fn read_record<R: DeserializeOwned>(dir: &Path) -> Result<Option<R>, RuntimeError> {
    match fs::read(dir.join(RECORD)) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| {
            let hint = "perhaps another runtime made the sandbox: start the server with that one";
            error(dir, RECORD, io::Error::other(format!("{e}; {hint}")))
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(error(dir, RECORD, e)),
    }
}

pub(crate) fn write_record(dir: &Path, record: &impl Serialize) -> Result<(), RuntimeError> {
    let text = serde_json::to_vec(record).expect("a record is plain data");
    write_atomically(&dir.join(RECORD), &text, 0o600).map_err(|e| error(dir, RECORD, e))
}

/// What happened to a file of a sandbox.
pub(crate) fn error(dir: &Path, name: &str, source: io::Error) -> RuntimeError {
    RuntimeError::Io {
        path: dir.join(name),
        source,
    }
}

/// The beginning of a digest, for a name.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
