//! A server's archive in a directory of its own.

use std::collections::BTreeMap;
use std::fs;
use std::future::pending;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glass_archive::{Archive, ArchiveError, ArchiveRef, Archived, Disk, Settings, Worker};
use glass_types::SandboxId;

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) archive: Archive,
    settings: Settings,
}

/// The worker of this crate, as a process.
pub(crate) fn worker() -> Worker {
    Worker::Program {
        path: env!("CARGO_BIN_EXE_glass-archive").into(),
        arguments: Vec::new(),
    }
}

impl World {
    /// With the store in a directory.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            url: Settings::directory(&dir.path().join("store")),
            ..Settings::default()
        };
        Self::with(dir, settings)
    }

    pub(crate) fn with(dir: tempfile::TempDir, settings: Settings) -> Self {
        let archive =
            Archive::new(settings.clone(), dir.path().join("archive.key"), worker()).unwrap();
        Self {
            dir,
            archive,
            settings,
        }
    }

    /// Another server's view of the same store, with another file of the key.
    pub(crate) fn with_key(&self, key: &str) -> Archive {
        Archive::new(self.settings.clone(), self.dir.path().join(key), worker()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new directory that stands for a disk.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    pub(crate) async fn store(&self, disk: &Path) -> Result<Archived, ArchiveError> {
        let disk = Disk::Directory(disk.to_owned());
        let id = SandboxId::random();
        let stored = self.archive.store(&id, disk, pending()).await?;
        Ok(stored.archived)
    }

    pub(crate) async fn fetch(
        &self,
        archive: &ArchiveRef,
        disk: &Path,
    ) -> Result<(), ArchiveError> {
        let disk = Disk::Directory(disk.to_owned());
        self.archive.fetch(archive, disk, |_| {}).await
    }

    /// Every file of the store.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.path("store")];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                if meta.is_dir() {
                    left.push(entry.path());
                } else {
                    found.insert(entry.path(), meta.len());
                }
            }
        }
        found
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored().values().sum()
    }
}

/// What a disk holds, as text that can be compared: everything that must come back.
pub(crate) fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let contents = if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let sum = bytes.iter().fold(0_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
            });
            format!("{} bytes, {sum:x}, {} names", bytes.len(), meta.nlink())
        } else {
            String::new()
        };
        let line = format!(
            "{:o} {}:{} {}.{:09} {contents}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        found.insert(
            path.strip_prefix(root)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec(),
            line,
        );
        if kind.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
