//! Ranges of host user ids, one per sandbox, never shared.
//!
//! A range is claimed by a link of its own, named after its first id, that says who has it: two servers over one
//! directory cannot claim the same, and there is no claim of nobody, whenever a server is killed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
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
            match symlink(id.as_str(), self.dir.join(base.to_string())) {
                Ok(()) => return Ok(base),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    // Claimed before by a create that was cut off.
                    if self.holder(base).as_ref() == Some(id) {
                        return Ok(base);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("all ranges of user ids are taken"))
    }

    fn holder(&self, base: u32) -> Option<SandboxId> {
        let path = self.dir.join(base.to_string());
        let text = match fs::read_link(&path) {
            Ok(link) => link.to_str()?.to_owned(),
            // Servers before this one wrote it into a file.
            Err(_) => fs::read_to_string(path).ok()?,
        };
        text.parse().ok()
    }

    fn bases(&self) -> io::Result<Vec<u32>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            bases.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<u32>().ok()),
            );
        }
        Ok(bases)
    }

    /// Gives back what nobody holds who exists. A sandbox exists before it claims and until it has given back, so this
    /// finds only what servers have left that went about it in another order.
    pub(super) fn release_unless(&self, exists: impl Fn(&SandboxId) -> bool) -> io::Result<()> {
        for base in self.bases()? {
            if !self.holder(base).is_some_and(|id| exists(&id)) {
                self.release(base)?;
            }
        }
        Ok(())
    }

    /// Gives back what a sandbox holds.
    pub(super) fn release_of(&self, id: &SandboxId) -> io::Result<()> {
        for base in self.bases()? {
            if self.holder(base).as_ref() == Some(id) {
                self.release(base)?;
            }
        }
        Ok(())
    }

    fn release(&self, base: u32) -> io::Result<()> {
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
        fs::remove_file(users.dir.join(first.to_string())).unwrap();
        symlink(two.as_str(), users.dir.join(first.to_string())).unwrap();
        let second = users.claim(&one).unwrap();
        assert!(first.abs_diff(second) >= SIZE);
        assert!(first >= FIRST && second <= 0x7fff_0000);
        assert_eq!(users.claim(&one).unwrap(), second, "it is claimed once");
        users.release_of(&two).unwrap();
        users.release_of(&one).unwrap();
        assert_eq!(fs::read_dir(&users.dir).unwrap().count(), 0);
    }

    #[test]
    fn what_nobody_holds_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("users")).unwrap();
        let users = Users::new(dir.path());
        let (one, two) = (SandboxId::random(), SandboxId::random());
        let kept = users.claim(&one).unwrap();
        users.claim(&two).unwrap();
        // Of servers before this one: whole, and cut off in the middle.
        for (base, text) in [("1", one.as_str()), ("2", two.as_str()), ("3", "")] {
            fs::write(users.dir.join(base), text).unwrap();
        }
        users.release_unless(|id| *id == one).unwrap();
        let mut left = users.bases().unwrap();
        left.sort_unstable();
        assert_eq!(left, [1, kept]);
    }
}
