//! Hands an open descriptor to a child.
#![expect(
    unsafe_code,
    reason = "only between fork and exec can a descriptor be kept open for one child alone"
)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Keeps `fd` open in the child that `command` starts; returns the number it has there.
pub(super) fn pass(command: &mut Command, fd: OwnedFd) -> RawFd {
    let number = fd.as_raw_fd();
    let keep = move || {
        Ok(rustix::io::fcntl_setfd(
            fd.as_fd(),
            rustix::io::FdFlags::empty(),
        )?)
    };
    // SAFETY: the closure makes one system call and neither allocates nor takes a lock.
    unsafe { command.pre_exec(keep) };
    number
}
