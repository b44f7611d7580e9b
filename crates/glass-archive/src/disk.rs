//! The root of a sandbox's disk as a descriptor.
//!
//! An image is mounted without a place: nobody sees the mount, and it ends with the descriptor, also when the worker is
//! killed. Everything below is then reached from the descriptor, never by a path of the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use glass_launch::loopback;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::ArchiveError;
use crate::message::Disk;

#[derive(Debug)]
pub(crate) struct Root {
    /// Dropped in this order: the directory, its file system, the device of that.
    fd: OwnedFd,
    _mount: Option<OwnedFd>,
    _device: Option<File>,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether files will be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Root {
    pub(crate) fn open(disk: &Disk, access: Access) -> Result<Self, ArchiveError> {
        match disk {
            Disk::Directory(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())
                    .map_err(|error| ArchiveError::disk(path.display(), error))?;
                Ok(Self {
                    fd,
                    _mount: None,
                    _device: None,
                })
            }
            Disk::Image(path) => {
                let failed = |error: io::Error| ArchiveError::disk(path.display(), error);
                let file = File::options()
                    .read(true)
                    .write(true)
                    .open(path)
                    .map_err(failed)?;
                // Locks the file: two mounts of one image would destroy it.
                let (device_path, device) =
                    loopback::attach(&file, loopback::Access::Buffered).map_err(failed)?;
                let (fd, mount) = mount(&device_path, access).map_err(|error| {
                    ArchiveError::disk(path.display(), format!("mount: {error}"))
                })?;
                Ok(Self {
                    fd,
                    _mount: Some(mount),
                    _device: Some(device),
                })
            }
        }
    }
}

/// A sandbox that was killed left a journal, which the kernel replays even for a read-only mount: the device can be
/// written.
fn mount(device: &Path, access: Access) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", device)?;
    let mut flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    if access == Access::Read {
        rustix::mount::fsconfig_set_flag(&context, "ro")?;
        flags |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    rustix::mount::fsconfig_create(&context)?;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    // The mount is a descriptor that only names; listing takes one that reads.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(&mount, ".", flags, Mode::empty())?;
    Ok((directory, mount))
}
