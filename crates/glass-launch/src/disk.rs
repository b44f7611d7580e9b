//! A disk that was made from another: grown to its own size, and rid of what was the other's alone.
#![expect(unsafe_code, reason = "a mounted file system is grown by ioctl")]

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use glass_launch::remove_tree;

const EXT4_IOC_RESIZE_FS: libc::c_ulong = 0x4008_6610;
/// Where the superblock begins, and in it the count of blocks and the size of each.
const SUPERBLOCK: u64 = 1024;
const BLOCKS_LOW: usize = 0x4;
const BLOCK_SIZE: usize = 0x18;
const BLOCKS_HIGH: usize = 0x150;

const OWNER: &str = "disk/owner";

/// Lets the mounted file system have all of its device, which is larger when a fork has a larger limit than its snapshot.
/// A root that lacks the capability for it (`CAP_SYS_RESOURCE`) makes no such fork. One that lost it since leaves a sandbox
/// of before with the smaller disk, for its files are worth more than the room.
pub(crate) fn grow(mut device: &File, root: &Path) -> io::Result<()> {
    let mut superblock = [0; 1024];
    device.read_exact_at(&mut superblock, SUPERBLOCK)?;
    let number = |at: usize| {
        let bytes = superblock[at..at + 4].try_into().expect("four bytes");
        u64::from(u32::from_le_bytes(bytes))
    };
    // The kernel has mounted it, so this is at most 64 KiB; but it is the sandbox's to write.
    let block = 1024_u64
        .checked_shl(u32::try_from(number(BLOCK_SIZE)).unwrap_or(u32::MAX))
        .filter(|size| (1024..=65_536).contains(size))
        .ok_or_else(|| io::Error::other("the size of its blocks makes no sense"))?;
    let there = number(BLOCKS_LOW) | number(BLOCKS_HIGH) << 32;
    let wanted = device.seek(SeekFrom::End(0))? / block;
    if wanted <= there {
        return Ok(());
    }
    let root = File::open(root)?;
    // SAFETY: the kernel reads a number of eight bytes, which lives on this stack.
    let result = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_RESIZE_FS, &raw const wanted) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Makes the disk this sandbox's own. What a guest keeps for itself, as the logs of agents, belongs to one sandbox and is
/// not for its forks; a disk that was put back to an earlier time keeps it.
///
/// The owner is a link, which is there whole or not at all after whatever crash, with no flush.
pub(crate) fn take_over(id: &str) -> io::Result<()> {
    match fs::read_link(OWNER) {
        Ok(owner) if owner == Path::new(id) => return Ok(()),
        Ok(_) => remove_tree(Path::new("disk/state"))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return symlink(id, OWNER),
        Err(e) => return Err(e),
    }
    let fresh = format!("{OWNER}.new");
    remove_tree(Path::new(&fresh))?;
    symlink(id, &fresh)?;
    fs::rename(fresh, OWNER)
}
