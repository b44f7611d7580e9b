//! What a tree says of an entry, from the file system and back.
//!
//! A tree holds only what a restored file can have again, so that a restored disk gives the very same tree. Access and
//! change times are left out, and inodes are numbered in the order of the walk.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde_json::json;

/// Restic's trees hold modes as Go does.
const GO_DIR: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;
const GO_DEVICE: u32 = 1 << 26;
const GO_FIFO: u32 = 1 << 25;
const GO_SETUID: u32 = 1 << 23;
const GO_SETGID: u32 = 1 << 22;
const GO_CHARDEV: u32 = 1 << 21;
const GO_STICKY: u32 = 1 << 20;

/// The kernel's own limit on all names of one file, and on one value.
const XATTR: usize = 64 << 10;
/// What the names of the attributes of almost every file fit into.
const FEW: usize = 256;

/// What an entry is, as far as the archive keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
    Symlink,
    Fifo,
    /// An overlay's mark that a file of the image is gone: a device with the number 0.
    Whiteout,
}

impl Kind {
    /// Sockets mean nothing without their process, and devices are not a sandbox's to have.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(Self::Directory),
            FileType::RegularFile => Some(Self::File),
            FileType::Symlink => Some(Self::Symlink),
            FileType::Fifo => Some(Self::Fifo),
            FileType::CharacterDevice if stat.st_rdev == 0 => Some(Self::Whiteout),
            FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Socket
            | FileType::Unknown => None,
        }
    }

    fn go_mode(self, mode: u32) -> u32 {
        let kind = match self {
            Self::Directory => GO_DIR,
            Self::File => 0,
            Self::Symlink => GO_SYMLINK,
            Self::Fifo => GO_FIFO,
            Self::Whiteout => GO_DEVICE | GO_CHARDEV,
        };
        let bit = |of: u32, is: u32| if mode & of == 0 { 0 } else { is };
        kind | mode & 0o777
            | bit(0o4000, GO_SETUID)
            | bit(0o2000, GO_SETGID)
            | bit(0o1000, GO_STICKY)
    }
}

fn mode_of(node: &Node) -> Mode {
    let go = node.meta.mode.unwrap_or_default();
    let bit = |of: u32, is: u32| if go & of == 0 { 0 } else { is };
    let mode =
        go & 0o777 | bit(GO_SETUID, 0o4000) | bit(GO_SETGID, 0o2000) | bit(GO_STICKY, 0o1000);
    Mode::from_raw_mode(mode)
}

/// The path of an entry by the descriptor of its directory, for the calls that have no other form. Only its last part
/// is a name that a sandbox made, and those calls do not follow it.
fn by_descriptor(directory: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
        .join(OsStr::from_bytes(name.to_bytes()))
}

/// Reads what a tree says of an entry. `link` is its number among the files with several names, and how many it has.
pub(crate) fn read(
    directory: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    kind: Kind,
    link: Option<(u64, u64)>,
) -> Result<Metadata, String> {
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).map_err(|e| e.to_string())?;
    let mtime = Timestamp::new(stat.st_mtime, nanoseconds).map_err(|e| e.to_string())?;
    let mut meta = Metadata {
        mode: Some(kind.go_mode(stat.st_mode)),
        mtime: Some(mtime),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
        ..Metadata::default()
    };
    read_attributes(directory, name, &mut meta)?;
    if kind == Kind::File {
        meta.size = u64::try_from(stat.st_size).map_err(|e| e.to_string())?;
        if let Some((number, names)) = link {
            (meta.inode, meta.device_id, meta.links) = (number, 1, names);
        }
    }
    Ok(meta)
}

/// Fills in the extended attributes, sorted by name.
fn read_attributes(
    directory: BorrowedFd<'_>,
    name: &CStr,
    meta: &mut Metadata,
) -> Result<(), String> {
    let path = by_descriptor(directory, name);
    // Hardly any entry has some, and those that have, have few.
    let mut names = vec![0_u8; FEW];
    let mut listed = rustix::fs::llistxattr(&path, &mut names[..]);
    if listed == Err(Errno::RANGE) {
        names.resize(XATTR, 0);
        listed = rustix::fs::llistxattr(&path, &mut names[..]);
    }
    let length = match listed {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        Ok(length) => length,
        Err(error) => return Err(error.to_string()),
    };
    let mut names: Vec<&str> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            std::str::from_utf8(name)
                .map_err(|_| "an extended attribute has a name that is no text".to_owned())
        })
        .collect::<Result<_, _>>()?;
    names.sort_unstable();
    // The library does not export the type of an attribute, but reads it as it lies in a tree.
    let empty: Vec<_> = names
        .iter()
        .map(|name| json!({ "name": name, "value": null }))
        .collect();
    meta.extended_attributes = serde_json::from_value(empty.into()).map_err(|e| e.to_string())?;
    for attribute in &mut meta.extended_attributes {
        let mut value = vec![0_u8; XATTR];
        let length = rustix::fs::lgetxattr(&path, attribute.name.as_str(), &mut value[..])
            .map_err(|error| format!("extended attribute {}: {error}", attribute.name))?;
        value.truncate(length);
        attribute.value = Some(value);
    }
    Ok(())
}

/// Gives an entry what the tree says of it.
///
/// The owner comes first, because changing it takes set-id bits and capabilities away; the mode comes after the
/// attributes, because without privileges a read-only file takes none; the time comes last, because all else may touch it.
pub(crate) fn apply(directory: BorrowedFd<'_>, name: &CStr, node: &Node) -> Result<(), String> {
    let meta = &node.meta;
    let (uid, gid) = (meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw));
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| format!("owner: {e}"))?;
    let path = by_descriptor(directory, name);
    for attribute in &meta.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        rustix::fs::lsetxattr(&path, attribute.name.as_str(), value, XattrFlags::empty())
            .map_err(|e| format!("extended attribute {}: {e}", attribute.name))?;
    }
    if !node.is_symlink() {
        // The entry was made just now and is no symlink, and nobody else has the disk.
        rustix::fs::chmodat(directory, name, mode_of(node), AtFlags::empty())
            .map_err(|e| format!("mode: {e}"))?;
    }
    if let Some(mtime) = meta.mtime {
        let time = Timespec {
            tv_sec: mtime.as_second(),
            tv_nsec: mtime.subsec_nanosecond().into(),
        };
        // Before 1970 the library counts nanoseconds down from the second, the kernel up.
        let time = if time.tv_nsec < 0 {
            Timespec {
                tv_sec: time.tv_sec - 1,
                tv_nsec: time.tv_nsec + 1_000_000_000,
            }
        } else {
            time
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| format!("time: {e}"))?;
    }
    Ok(())
}
