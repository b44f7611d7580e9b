//! What the files of a running sandbox take.

use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// What `statfs` calls ext4.
const EXT4: u64 = 0xef53;

/// Bytes used in its file system, which is found through its home. `None` when its files are not on a disk of its own.
///
/// The sandbox may put what it likes in the place of its home. Nothing is followed out of it, and all it can falsify is
/// this figure of its own.
pub(super) fn disk_bytes(init: i32) -> Option<u64> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = PathBuf::from(format!("/proc/{init}/root"));
    let root = rustix::fs::open(root, flags, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let home = rustix::fs::openat2(&root, "home/dev", flags, Mode::empty(), resolve).ok()?;
    let is_loop = rustix::fs::fstat(&home).is_ok_and(|stat| rustix::fs::major(stat.st_dev) == 7);
    let stat = rustix::fs::fstatfs(&home).ok()?;
    if !is_loop || u64::try_from(stat.f_type) != Ok(EXT4) {
        return None;
    }
    let block = u64::try_from(stat.f_bsize).ok()?;
    Some(stat.f_blocks.saturating_sub(stat.f_bfree) * block)
}
