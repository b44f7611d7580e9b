//! Keeps the disk of a running sandbox as it is this instant.
//!
//! The file system in the image is frozen: all of it is on the image, and who writes waits. Then the image is cloned, and
//! the file system is thawed. A frozen file system hangs its sandbox, so this is done by a process that nobody ends: the
//! server may be killed meanwhile. While it is frozen a file beside the sandbox says so, by which the next server finds
//! one whose keeper was killed all the same. The keeper holds that file's lock: who else would freeze waits, and who
//! would thaw what was left leaves it alone.
//!
//! Nothing in the sandbox is touched, and no path of it is resolved: the file system is mounted a second time, where
//! nobody sees it.
#![expect(unsafe_code, reason = "file systems are frozen by ioctl")]

mod marker;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use serde::{Deserialize, Serialize};

use crate::{clone_file, loopback};
use marker::Marker;

/// Name of the file in the sandbox's directory that is there while its file system may be frozen.
pub const STILL_FILE: &str = "still";

const FIFREEZE: libc::c_ulong = 0xC004_5877;
const FITHAW: libc::c_ulong = 0xC004_5878;

/// What to keep, as JSON on the standard input of the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepSpec {
    /// The sandbox's directory.
    pub dir: PathBuf,
    /// Its disk, which is mounted.
    pub image: PathBuf,
    /// An empty file that is to have the same content.
    pub target: PathBuf,
    /// Process id of its init, whose mounts tell the device.
    pub init: i32,
}

/// The keeper's answer, as one line of JSON on its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReport {
    /// It is kept, and on the host's disk.
    Kept,
    /// It is not, and the sandbox goes on.
    Failed(String),
}

/// Does it. The file system is thawed in any case.
///
/// # Errors
/// What the kernel said.
pub fn keep(spec: &KeepSpec) -> io::Result<()> {
    let image = File::open(&spec.image)?;
    let target = OpenOptions::new().write(true).open(&spec.target)?;
    let still = Still::begin(&spec.dir, &image, Some(spec.init))?;
    let cloned = clone_file(&image, &target);
    still.end()?;
    cloned?;
    target.sync_all()
}

/// Thaws what a keeper that was killed has left frozen. It is no error when nothing is, or its keeper is alive.
///
/// # Errors
/// What the kernel said.
pub fn thaw_left(dir: &Path, image: &Path) -> io::Result<()> {
    let Some(marker) = Marker::left(&dir.join(STILL_FILE))? else {
        return Ok(());
    };
    // Not asking an init, which may be gone: a frozen file system keeps its device without any.
    if let Some(root) = root_of(&File::open(image)?, None)? {
        thaw(&root)?;
    }
    marker.remove()
}

/// A file system that is frozen as long as this lives.
struct Still {
    root: File,
    /// None when it has ended.
    marker: Option<Marker>,
}

impl Still {
    fn begin(dir: &Path, image: &File, init: Option<i32>) -> io::Result<Self> {
        let gone = || io::Error::other("its disk is not mounted any more");
        let root = root_of(image, init)?.ok_or_else(gone)?;
        let marker = Marker::make(dir.join(STILL_FILE))?;
        let still = Self {
            root,
            marker: Some(marker),
        };
        match ioctl(&still.root, FIFREEZE) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                // Left frozen by one that was killed.
                thaw(&still.root)?;
                ioctl(&still.root, FIFREEZE)?;
            }
            other => other?,
        }
        Ok(still)
    }

    fn end(mut self) -> io::Result<()> {
        let marker = self.marker.take();
        thaw(&self.root)?;
        marker.map_or(Ok(()), Marker::remove)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Some(marker) = self.marker.take()
            && thaw(&self.root).is_ok()
        {
            // Left behind it costs the next server one look.
            drop(marker.remove());
        }
    }
}

/// The root directory of the file system on the device that has the image.
fn root_of(image: &File, init: Option<i32>) -> io::Result<Option<File>> {
    for device in init.map(devices_of).unwrap_or_default() {
        if loopback::has(&device, image)? {
            return mounted(&device).map(Some);
        }
    }
    match loopback::find(image)? {
        Some(device) => mounted(&device).map(Some),
        None => Ok(None),
    }
}

/// The loop devices among the mounts of a process.
fn devices_of(init: i32) -> Vec<PathBuf> {
    let table = fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap_or_default();
    let mut devices: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(2)?.strip_prefix("7:"))
        .map(|number| PathBuf::from(format!("/dev/loop{number}")))
        .collect();
    devices.dedup();
    devices
}

/// Mounts a device once more, attached to no place. The kernel has one file system for all mounts of a device.
fn mounted(device: &Path) -> io::Result<File> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", device)?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        &mount,
        ".",
        flags,
        Mode::empty(),
    )?))
}

fn thaw(root: &File) -> io::Result<()> {
    match ioctl(root, FITHAW) {
        // It was not frozen.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

fn ioctl(root: &File, request: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the kernel ignores the argument of both requests.
    if unsafe { libc::ioctl(root.as_raw_fd(), request, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
