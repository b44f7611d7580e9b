//! Where disks share blocks.
//!
//! A snapshot or a fork of a disk is another file with the same blocks, which few file systems can have. Where the data
//! directory lies on one of them, disks lie there. Elsewhere there is a pool:
//!
//! ```text
//! <state>/pool.xfs    a sparse file with an XFS file system, behind a loop device
//! <state>/pool/       where it is mounted: the one mount that the host's table shows
//! <state>/pool.lock   held while it is mounted and unmounted
//! ```
//!
//! The mount outlives a server that is killed, as the sandboxes do whose disks are in it, and the next one finds it. A
//! server that ends in good order unmounts it unless something runs. The device is locked through its file, so the pool
//! is never attached twice.
//!
//! What is freed in the pool is given back to the host. How much may be stored is up to the host: the pool itself is
//! larger than any.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use glass_launch::clone_file;
use glass_launch::loopback::{self, Access};
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, UnmountFlags};

use super::disk::host_program;
use crate::RuntimeError;
use crate::programs::make_dir_all;

/// The least and the most that the pool can hold. The most is what a file on ext4 can have.
const SIZES: (u64, u64) = (64 << 30, 15 << 40);
/// A device that is let go of is free soon.
const TRIES: u32 = 50;

/// Pools that are open in this process: two runtimes over one directory share it.
static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Pool>>>> = Mutex::new(None);

/// A mounted pool.
#[derive(Debug)]
pub(super) struct Pool {
    state_dir: PathBuf,
    /// Keeps other processes from unmounting it. `None` only while it is dropped.
    root: Option<File>,
}

/// What a state directory offers to disks.
#[derive(Debug, Clone)]
pub(super) enum Storage {
    /// The host's file system shares blocks.
    Sharing,
    /// There is a pool.
    Pool(Arc<Pool>),
    /// Blocks are copied.
    Copying,
}

impl Storage {
    /// Finds out, and makes or mounts the pool where one is needed.
    ///
    /// # Errors
    /// When there is a pool that cannot be mounted: files of sandboxes are in it.
    pub(super) fn open(state_dir: &Path) -> Result<Self, RuntimeError> {
        let image = state_dir.join("pool.xfs");
        if !image.exists() {
            if shares_blocks(state_dir) {
                return Ok(Self::Sharing);
            }
            if let Err(reason) = obstacle() {
                tracing::info!(reason, "there is no pool: snapshots copy");
                return Ok(Self::Copying);
            }
        }
        let failed = |source| RuntimeError::Io {
            path: image.clone(),
            source,
        };
        let fresh = !image.exists();
        match Pool::open(state_dir) {
            Ok(pool) => Ok(Self::Pool(pool)),
            // Nobody has anything in it, so it goes without.
            Err(e) if fresh => {
                fs::remove_file(&image)
                    .or_else(unless_missing)
                    .map_err(failed)?;
                tracing::warn!(error = %e, "there is no pool: snapshots copy");
                Ok(Self::Copying)
            }
            Err(e) => Err(failed(e)),
        }
    }
}

/// Why no pool can be made on this host.
pub(super) fn obstacle() -> Result<(), String> {
    if !Path::new("/dev/loop-control").exists() {
        return Err("the host has no /dev/loop-control".to_owned());
    }
    match rustix::mount::fsopen("xfs", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => {}
        Err(Errno::NODEV) => return Err("the kernel does not know the file system xfs".to_owned()),
        Err(e) => return Err(format!("the file system xfs cannot be opened: {e}")),
    }
    match host_program("mkfs.xfs") {
        Some(_) => Ok(()),
        None => Err("there is no mkfs.xfs".to_owned()),
    }
}

/// Whether two files in this directory can share blocks.
pub(super) fn shares_blocks(dir: &Path) -> bool {
    let probe = || -> io::Result<bool> {
        let one = tempfile_in(dir)?;
        let two = tempfile_in(dir)?;
        (&one).write_all(&[1; 4096])?;
        clone_file(&one, &two)
    };
    probe().unwrap_or(false)
}

/// A file without a name.
fn tempfile_in(dir: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(dir)
}

impl Pool {
    fn open(state_dir: &Path) -> io::Result<Arc<Self>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        if let Some(pool) = open.get(state_dir).and_then(Weak::upgrade) {
            return Ok(pool);
        }
        let _lock = lock(state_dir)?;
        let image = state_dir.join("pool.xfs");
        if !image.exists() {
            format(state_dir, &image)?;
        }
        let dir = state_dir.join("pool");
        make_dir_all(&dir, 0o700).map_err(io::Error::other)?;
        mount(&image, &dir)?;
        let pool = Arc::new(Self {
            state_dir: state_dir.to_owned(),
            root: Some(File::open(&dir)?),
        });
        open.retain(|_, pool| pool.strong_count() > 0);
        open.insert(state_dir.to_owned(), Arc::downgrade(&pool));
        Ok(pool)
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.state_dir.join("pool")
    }
}

impl Drop for Pool {
    /// Unmounts it. What runs keeps it busy, and so does another process that has it.
    fn drop(&mut self) {
        let Ok(_lock) = lock(&self.state_dir) else {
            return;
        };
        self.root = None;
        // A disk that was let go of a moment ago, or a program that is being started, keeps it busy for a moment more, and
        // the kernel tells nobody when that is over.
        for _ in 0..TRIES {
            match rustix::mount::unmount(self.dir(), UnmountFlags::NOFOLLOW) {
                Err(Errno::BUSY) => wait(Duration::from_millis(2)),
                Ok(()) | Err(_) => return,
            }
        }
    }
}

/// For what the kernel does soon and tells nobody of.
#[expect(
    clippy::disallowed_methods,
    reason = "a server waits here only before it serves and after, and a few milliseconds"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn lock(state_dir: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(state_dir.join("pool.lock"))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

fn format(state_dir: &Path, image: &Path) -> io::Result<()> {
    let missing = || io::Error::other("there is no mkfs.xfs: install the package xfsprogs");
    let mkfs = host_program("mkfs.xfs").ok_or_else(missing)?;
    let fresh = image.with_extension("new");
    fs::remove_file(&fresh).or_else(unless_missing)?;
    let file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)?;
    let host = rustix::fs::statvfs(state_dir)?;
    // Twice the host's disk, for that may be made larger one day.
    let size = host
        .f_blocks
        .saturating_mul(host.f_frsize)
        .saturating_mul(2);
    file.set_len(size.clamp(SIZES.0, SIZES.1))?;
    // Sectors as large as the device's blocks. A log of a size of its own, because it would grow with the pool, and it is
    // the one part that takes room from the start: what it writes later never needs any of the host.
    let output = Command::new(mkfs)
        .args(["-q", "-K", "-m", "reflink=1", "-s", "size=4096"])
        .args(["-d", "agcount=8", "-l", "size=64m"])
        .arg(&fresh)
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("mkfs.xfs: {}", text.trim())));
    }
    file.sync_all()?;
    fs::rename(&fresh, image)?;
    File::open(state_dir)?.sync_all()
}

/// Mounts the pool unless it is.
fn mount(image: &Path, dir: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().read(true).write(true).open(image)?;
    if is_mount_point(dir)? {
        if is_healthy(&file, dir)? {
            return Ok(());
        }
        // It has shut itself down, or is of a file that is gone. Nothing that uses it can go on.
        rustix::mount::unmount(dir, UnmountFlags::NOFOLLOW).map_err(|e| {
            let text = format!(
                "{} is mounted and does not work, and cannot be unmounted ({e}): stop what uses it or restart the host",
                dir.display()
            );
            io::Error::other(text)
        })?;
    }
    let (device, _open) = attached(&file)?;
    rustix::mount::mount(
        &device,
        dir,
        "xfs",
        MountFlags::NOATIME | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        c"discard,nouuid",
    )?;
    Ok(())
}

/// The device that has the pool: one that has it from before, as sandboxes keep it, or a new one.
fn attached(file: &File) -> io::Result<(PathBuf, File)> {
    let mut pause = Duration::from_millis(1);
    for _ in 0..TRIES {
        match loopback::attach(file, Access::Direct) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
            other => return other,
        }
        if let Some(device) = loopback::find(file)? {
            let open = File::open(&device)?;
            // It may have let go before it was opened.
            if loopback::has(&device, file)? {
                return Ok((device, open));
            }
        }
        wait(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it is locked by something that is no loop device",
    ))
}

fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let found = rustix::fs::statx(CWD, dir, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS);
    match found {
        Ok(found) => Ok(
            StatxAttributes::from_bits_retain(found.stx_attributes.bits())
                .contains(StatxAttributes::MOUNT_ROOT),
        ),
        // What is mounted there may have shut itself down.
        Err(Errno::IO) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

/// Whether what is mounted is the pool and can be written to.
fn is_healthy(file: &File, dir: &Path) -> io::Result<bool> {
    let Ok(stat) = rustix::fs::stat(dir) else {
        return Ok(false);
    };
    let device = format!("/dev/loop{}", rustix::fs::minor(stat.st_dev));
    if rustix::fs::major(stat.st_dev) != 7 || !loopback::has(Path::new(&device), file)? {
        return Err(io::Error::other(format!(
            "something else is mounted at {}: unmount it",
            dir.display()
        )));
    }
    let written = tempfile_in(dir)
        .and_then(|mut probe| probe.write_all(b"x").and_then(|()| probe.sync_all()));
    // A full disk is no broken one.
    Ok(written.is_ok() || written.is_err_and(|e| e.kind() == io::ErrorKind::StorageFull))
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}
