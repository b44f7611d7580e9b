//! The disk of a sandbox: a file system in a sparse file, so that its size is a limit on any host.
//!
//! Formatting costs more than copying, so one template per size is formatted and copied. A loop device is attached by
//! the launcher and seen mounted only in the sandbox; it goes by itself soon after the container.
//!
//! ```text
//! <root>/disks/       templates
//! <root>/snapshots/   <snapshot>.img, each a disk; what is being made has another ending
//! <root>/sandboxes/   disks; the root is the pool, or the state directory, see `sandbox`
//! ```

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use glass_launch::{clone_file, loopback};
use glass_types::{SandboxId, SnapshotId};
use rustix::fs::{Advice, FlockOperation, SeekFrom};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::pool::Storage;
use super::space;
use crate::programs::make_dir_all;
use crate::{RuntimeError, blocking};

/// Smaller ones would hold hardly more than their own tables.
pub(super) const LEAST: u64 = 32 << 20;
/// How much of a new disk is read ahead.
const WARM: u64 = 8 << 20;
/// How long a device may take to let go of a disk.
const PATIENCE: Duration = Duration::from_secs(15);

/// Makes disks.
#[derive(Debug)]
pub(super) struct Disks {
    state_dir: PathBuf,
    storage: Storage,
    mkfs: Option<PathBuf>,
}

impl Disks {
    /// Prepares the places of disks, and removes what was being made when the last server ended.
    pub(super) fn open(state_dir: &Path) -> Result<Self, RuntimeError> {
        let disks = Self {
            state_dir: state_dir.to_owned(),
            storage: Storage::open(state_dir)?,
            mkfs: host_program("mkfs.ext4").filter(|_| Path::new("/dev/loop-control").exists()),
        };
        for name in ["disks", "snapshots", "sandboxes"] {
            let path = disks.root().join(name);
            make_dir_all(&path, 0o700)?;
            sweep(&path).map_err(|source| RuntimeError::Io { path, source })?;
        }
        Ok(disks)
    }

    /// Whether the host can have disks at all.
    pub(super) fn exist(&self) -> bool {
        self.mkfs.is_some()
    }

    /// Whether a copy shares blocks.
    pub(super) fn share(&self) -> bool {
        !matches!(self.storage, Storage::Copying)
    }

    /// Whether new disks are in the pool.
    pub(super) fn pooled(&self) -> bool {
        matches!(self.storage, Storage::Pool(_))
    }

    fn root(&self) -> PathBuf {
        match &self.storage {
            Storage::Pool(pool) => pool.dir(),
            Storage::Sharing | Storage::Copying => self.state_dir.clone(),
        }
    }

    /// Where the disk of a sandbox is that was made in the pool, or would be.
    pub(super) fn pool_image(&self, id: &SandboxId) -> PathBuf {
        self.state_dir
            .join("pool/sandboxes")
            .join(format!("{id}.img"))
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.root().join("snapshots")
    }

    pub(super) fn snapshot(&self, id: &SnapshotId) -> PathBuf {
        self.snapshots().join(format!("{id}.img"))
    }

    pub(super) fn templates(&self) -> PathBuf {
        self.root().join("disks")
    }

    /// An empty disk, which is for copying.
    pub(super) async fn blank(&self, bytes: u64) -> io::Result<PathBuf> {
        let Some(mkfs) = &self.mkfs else {
            return Err(io::Error::other(
                "the host has no loop devices or no mkfs.ext4",
            ));
        };
        let template = self.templates().join(format!("ext4-{bytes}.img"));
        if !template.exists() {
            format(mkfs, &template, bytes).await?;
        }
        Ok(template)
    }

    /// Makes the disk of a sandbox that is being made, so half a disk is nobody's: of what another has, at least as large
    /// as asked.
    pub(super) async fn begin_with(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        let flush = self.share();
        blocking(move || {
            let file = fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(to)?;
            clone_file(&File::open(from)?, &file)?;
            if file.metadata()?.len() < bytes {
                file.set_len(bytes)?;
            }
            warm(&file)?;
            // The file system of the pool flushes its log in order, the name of the file before this.
            if flush { file.sync_all() } else { Ok(()) }
        })
        .await
    }

    /// Makes a disk of what another has, at least as large as asked. It is on the host's disk, and whole or not there.
    pub(super) async fn copy(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        space::check(&self.state_dir)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        blocking(move || {
            let making = Making::begin(&to)?;
            clone_file(&File::open(from)?, &making.file)?;
            if making.file.metadata()?.len() < bytes {
                making.file.set_len(bytes)?;
            }
            making.finish()
        })
        .await
    }

    /// Refuses when the host's disk is nearly full.
    pub(super) fn check_space(&self) -> io::Result<()> {
        space::check(&self.state_dir)
    }
}

/// A file that is being made beside the place it is for. It is locked, so that nobody takes it for one that was left.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) file: File,
    pub(super) path: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Making {
    /// The ending of its name; a disk has another.
    const ENDING: &str = "new";

    pub(super) fn begin(target: &Path) -> io::Result<Self> {
        let path = target.with_extension(format!("{}.{}", SandboxId::random(), Self::ENDING));
        let file = fs::OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            file,
            path,
            target: target.to_owned(),
            done: false,
        })
    }

    /// Gives it its name. When this returns, the file is on the host's disk with all of its content.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.done = true;
        let dir = self.target.parent().expect("a disk lies in a directory");
        File::open(dir)?.sync_all()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            // What cannot be removed now is removed by the next server.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Removes what nobody is making any more.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|ending| ending != Making::ENDING)
        {
            continue;
        }
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Bytes of the host that a file takes. What it shares is counted.
pub(super) fn bytes_of(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.blocks() * 512)
}

/// Has the beginning of a disk read ahead, where most of its tables are: whoever mounts it asks for them one after the
/// other, and shared blocks are in no cache yet.
fn warm(file: &File) -> io::Result<()> {
    let (mut at, mut left) = (0, WARM);
    while let Some(most) = NonZeroU64::new(left) {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        let length = NonZeroU64::new(at - start).map_or(most, |length| length.min(most));
        rustix::fs::fadvise(file, start, Some(length), Advice::WillNeed)?;
        left -= length.get();
    }
    Ok(())
}

/// A program of the host's administrator, if it is there.
pub(super) fn host_program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
}

async fn format(mkfs: &Path, template: &Path, bytes: u64) -> io::Result<()> {
    // Several may format at once; each has its own file and the last rename wins.
    let making = Making::begin(template)?;
    making.file.set_len(bytes)?;
    let output = tokio::process::Command::new(mkfs)
        .args(["-q", "-F", "-m", "1", "-J", "size=4", "-O", "^resize_inode"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"])
        .arg(&making.path)
        .output()
        .await?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("mkfs.ext4: {}", text.trim())));
    }
    blocking(move || making.finish()).await
}

/// Waits until no loop device has the file. The device locks it, see [`loopback`].
///
/// The lock is let go of by a call, and not by closing the file alone: a process that is being started just now has a copy
/// of the descriptor until it executes its program, and the launcher that comes next would find the file locked.
pub(super) async fn detached(image: &Path) -> io::Result<()> {
    let file = match File::open(image) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(rustix::fs::flock(&file, FlockOperation::Unlock)?);
    }
    let (done, unlocked) = oneshot::channel();
    // A thread of its own: should the kernel never let go, nothing else waits for it.
    std::thread::spawn(move || {
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .and_then(|()| rustix::fs::flock(&file, FlockOperation::Unlock));
        // Nobody may wait any more.
        done.send(locked).ok();
    });
    match tokio::time::timeout(PATIENCE, unlocked).await {
        Ok(Ok(locked)) => Ok(locked?),
        Ok(Err(_)) | Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{} is still mounted", image.display()),
        )),
    }
}

/// The same for a disk outside of the pool, which may have been attached by a version that did not lock.
pub(super) async fn detached_from_all(image: &Path) -> io::Result<()> {
    detached(image).await?;
    let mut pause = Duration::from_micros(500);
    for _ in 0..150 {
        let path = image.to_owned();
        let device = blocking(move || match File::open(path) {
            Ok(file) => loopback::find(&file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        });
        if device.await?.is_none() {
            return Ok(());
        }
        // The kernel unmounts in the background and tells nobody.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{} is still mounted", image.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_removed_and_what_is_being_made_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let making = Making::begin(&dir.path().join("a.img")).unwrap();
        let left = dir.path().join("b.x.new");
        let disk = dir.path().join("c.img");
        fs::write(&left, "").unwrap();
        fs::write(&disk, "").unwrap();
        sweep(dir.path()).unwrap();
        assert!(making.path.exists() && disk.exists() && !left.exists());
        making.finish().unwrap();
        assert!(dir.path().join("a.img").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_locked_disk_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.img");
        let file = File::create_new(&path).unwrap();
        rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
        let waiting = detached(&path);
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(file);
        waiting.await.unwrap();
        detached(&dir.path().join("none")).await.unwrap();
    }
}
