//! The files of a recipe, in memory: they come with this program, or out of a directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::failure::{Failure, Naming};

/// Name, mode and content of each file of the templates that come with this program, below `templates/`.
const OURS: &[(&str, u32, &[u8])] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));
/// More than this is no starter.
const LIMIT: u64 = 64 << 20;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StarterFile {
    pub(super) is_program: bool,
    pub(super) content: Vec<u8>,
}

/// Files by their path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files(pub(super) BTreeMap<String, StarterFile>);

/// Names of the templates that come with this program, in order.
pub(super) fn ours() -> Vec<&'static str> {
    OURS.iter()
        .filter_map(|(file, _, _)| file.strip_suffix("/template.toml"))
        .filter(|name| !name.contains('/'))
        .collect()
}

impl Files {
    /// Those of this program that lie in a directory below `templates/`.
    pub(super) fn of_program(directory: &str) -> Self {
        let below = OURS.iter().filter_map(|(path, mode, content)| {
            let path = path.strip_prefix(directory)?.strip_prefix('/')?;
            let file = StarterFile {
                is_program: mode & 0o111 != 0,
                content: content.to_vec(),
            };
            Some((path.to_owned(), file))
        });
        Self(below.collect())
    }

    /// Those in a directory.
    pub(super) fn of_directory(directory: &Path) -> Result<Self, Failure> {
        let mut files = Self::default();
        let mut left = LIMIT;
        files.read(directory, "", &mut left)?;
        Ok(files)
    }

    fn read(&mut self, directory: &Path, below: &str, left: &mut u64) -> Result<(), Failure> {
        for entry in fs::read_dir(directory).naming(|| reading(directory))? {
            let entry = entry.naming(|| reading(directory))?;
            let here = entry.path();
            let kind = entry.metadata().naming(|| reading(&here))?;
            let name = entry.file_name().into_string().map_err(|_| {
                Failure::new(format!("the name {} is not UTF-8", here.display()))
                    .with_hint("give the file another name")
            })?;
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            if kind.is_dir() {
                self.read(&here, &path, left)?;
                continue;
            }
            if !kind.is_file() {
                // A link could lead to anything of this machine.
                return Err(Failure::new(format!("{} is no plain file", here.display()))
                    .with_hint("make links by a command in `prepare`"));
            }
            *left = left.checked_sub(kind.len()).ok_or_else(|| {
                Failure::new(format!(
                    "with {} it is more than {LIMIT} bytes",
                    here.display()
                ))
                .with_hint("leave packages to the commands in `prepare`")
            })?;
            let file = StarterFile {
                is_program: kind.permissions().mode() & 0o111 != 0,
                content: fs::read(&here).naming(|| reading(&here))?,
            };
            self.0.insert(path, file);
        }
        Ok(())
    }

    /// Those below a directory of these.
    pub(super) fn below(&self, directory: &str) -> Self {
        let below = self.0.iter().filter_map(|(path, file)| {
            let path = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((path.to_owned(), file.clone()))
        });
        Self(below.collect())
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(&self.0.get(path)?.content).ok()
    }

    /// Adds paths, contents, and whether they are programs.
    pub(super) fn digest(&self, hash: &mut Sha256) {
        for (path, file) in &self.0 {
            // Lengths keep apart what would run together.
            for part in [path.as_bytes(), &file.content] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
            hash.update([u8::from(file.is_program)]);
        }
    }

    /// All but one, as an archive (`tar.gz`).
    pub(super) fn pack(&self, except: &str) -> std::io::Result<Vec<u8>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, file) in self.0.iter().filter(|(path, _)| *path != except) {
            let mut header = Header::new_gnu();
            header.set_mode(if file.is_program { 0o755 } else { 0o644 });
            header.set_size(file.content.len() as u64);
            header.set_mtime(now);
            archive.append_data(&mut header, path, &*file.content)?;
        }
        archive.into_inner()?.finish()
    }
}

fn reading(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("notes")).unwrap();
        let failure = Files::of_directory(dir.path()).unwrap_err();
        assert!(failure.message().contains("notes"), "{failure:?}");
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let large = fs::File::create(dir.path().join("large")).unwrap();
        large.set_len(LIMIT + 1).unwrap();
        let failure = Files::of_directory(dir.path()).unwrap_err();
        assert!(failure.message().contains("large"), "{failure:?}");
    }

    #[test]
    fn an_archive_keeps_programs_and_leaves_one_file_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for name in ["bin/run", "plain", "not"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let run = dir.path().join("bin/run");
        fs::set_permissions(run, fs::Permissions::from_mode(0o700)).unwrap();
        let packed = Files::of_directory(dir.path())
            .unwrap()
            .pack("not")
            .unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*packed));
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            (path, entry.header().mode().unwrap())
        });
        let expected = [("bin/run".to_owned(), 0o755), ("plain".to_owned(), 0o644)];
        assert_eq!(entries.collect::<Vec<_>>(), expected);
    }
}
