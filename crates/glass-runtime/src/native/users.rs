//! Ranges of host user ids, one per sandbox, never shared.
//!
//! A range is claimed by a file of its own, so that also two servers over one directory cannot claim the same.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use glass_types::SandboxId;

/// Ids per sandbox.
const SIZE: u32 = 65_536;
/// Above what `useradd` and container engines take by default, below where signed numbers end.
pub(super) const FIRST: u32 = 0x1000_0000;
const COUNT: u32 = (0x7fff_0000 - FIRST) / SIZE;

/// The claims of one state directory.
#[derive(Debug)]
pub(super) struct Users {
    dir: PathBuf,
}

impl Users {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("users"),
        }
    }

    /// Claims a range and returns its first id. The search starts at a place that depends on the id, so that servers
    /// with different directories on one host hardly ever meet.
    pub(super) fn claim(&self, id: &SandboxId) -> io::Result<u32> {
        let start = id.as_str().bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        for step in 0..COUNT {
            let base = FIRST + (start.wrapping_add(step) % COUNT) * SIZE;
            let path = self.dir.join(base.to_string());
            match fs::OpenOptions::new()
                .create_new(true)
                .write(true)
                .open(path)
            {
                Ok(mut file) => {
                    file.write_all(id.as_str().as_bytes())?;
                    return Ok(base);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    // Claimed before by a create that was cut off.
                    if self.holder(base).as_deref() == Some(id.as_str()) {
                        return Ok(base);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("all ranges of user ids are taken"))
    }

    fn holder(&self, base: u32) -> Option<String> {
        fs::read_to_string(self.dir.join(base.to_string())).ok()
    }

    /// Gives back what a sandbox holds that does not know its range, because it is half-made.
    pub(super) fn release_of(&self, id: &SandboxId) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let base = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(base) = base
                && self.holder(base).as_deref() == Some(id.as_str())
            {
                self.release(base)?;
            }
        }
        Ok(())
    }

    /// Gives a range back.
    pub(super) fn release(&self, base: u32) -> io::Result<()> {
        match fs::remove_file(self.dir.join(base.to_string())) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("users")).unwrap();
        let users = Users::new(dir.path());
        let (one, two) = (SandboxId::random(), SandboxId::random());
        let first = users.claim(&one).unwrap();
        // As if the second began its search at the same place.
        fs::write(users.dir.join(first.to_string()), two.as_str()).unwrap();
        let second = users.claim(&one).unwrap();
        assert!(first.abs_diff(second) >= SIZE);
        assert!(first >= FIRST && second <= 0x7fff_0000);
        assert_eq!(users.claim(&one).unwrap(), second, "it is claimed once");
        users.release_of(&two).unwrap();
        users.release(second).unwrap();
        assert_eq!(fs::read_dir(&users.dir).unwrap().count(), 0);
    }
}
