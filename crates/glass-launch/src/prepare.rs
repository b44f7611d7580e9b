//! A disk that new sandboxes of an image begin with: it has the skeleton of the root, and the home seeded.
//!
//! Copying a home of many files takes seconds, and sharing the blocks of a disk milliseconds. So the first is done once.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use glass_launch::{LaunchSpec, StepTime, remove_tree};
use rustix::fs::Mode;
use rustix::mount::UnmountFlags;

use crate::failure::{Failure, Step};
use crate::launch::{high, user_namespace};
use crate::mounts;
use crate::spare;
use crate::steps::Steps;
use crate::sys;

/// There until the first start: nobody has written to the root.
const PRISTINE: &str = "disk/pristine";
/// What tells of this one alone.
const OWN: [&str; 3] = [
    "disk/owner",
    "disk/upper/etc/hostname",
    "disk/upper/etc/hosts",
];

/// Does all that is done at a first start until the home is there. The disk is let go of with the end of the process.
pub(crate) fn prepare(spec: &LaunchSpec, mut steps: Steps) -> Result<Vec<StepTime>, Failure> {
    rustix::process::umask(Mode::empty());
    let users = high(user_namespace(spec.uid_base)?)?;
    sys::unshare_mounts().step("make a mount namespace")?;
    mounts::begin_root(spec, users.as_fd(), spec.way_out.is_some(), &mut steps)?;
    // What a first start would only remove.
    rustix::mount::unmount("root", UnmountFlags::empty()).step("unmount overlay")?;
    remove_tree(Path::new("disk/work")).step("forget what overlay keeps")?;
    spare::release().step("free the spare inodes")?;
    for path in OWN {
        fs::remove_file(path).step("forget whose the disk was")?;
    }
    fs::write(PRISTINE, "").step("mark the disk")?;
    Ok(steps.finish())
}

/// Whether the disk is as it was prepared. From now on it is not.
pub(crate) fn was_pristine() -> io::Result<bool> {
    match fs::remove_file(Path::new(PRISTINE)) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
