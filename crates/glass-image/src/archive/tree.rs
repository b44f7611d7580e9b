//! A directory into which hostile paths are resolved.
//!
//! Every path is resolved by the kernel with `openat2` and `RESOLVE_IN_ROOT`: links work as they would after `chroot`,
//! and none leads out of the tree, however they change meanwhile.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

use crate::archive::ArchiveError;
use crate::pack::OPAQUE;

/// Deeper trees are refused: removing them again takes a file descriptor per level.
const DEPTH_LIMIT: usize = 200;

/// The root of a tree.
pub(crate) struct Tree {
    root: OwnedFd,
    /// How deep the root itself lies.
    root_depth: usize,
    /// The directory used last: archives list one directory after the other.
    last: Option<(Vec<u8>, OwnedFd)>,
}

/// The components of a path, checked.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    if path.first() == Some(&b'/') {
        return Err("its path is absolute");
    }
    if path.len() > 4095 {
        return Err("its path is longer than 4095 bytes");
    }
    if path.contains(&0) {
        return Err("its path has a NUL byte");
    }
    let parts: Vec<_> = path
        .split(|b| *b == b'/')
        .filter(|p| !p.is_empty() && *p != b".")
        .collect();
    if parts.contains(&&b".."[..]) {
        return Err("its path leads out of the image with `..`");
    }
    if parts.len() > DEPTH_LIMIT {
        return Err("it lies more than 200 directories deep");
    }
    Ok(parts)
}

impl Tree {
    /// The tree in a directory that exists.
    pub(crate) fn open(dir: &Path) -> rustix::io::Result<Self> {
        let root = rustix::fs::open(
            dir,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let root_depth = depth(&root)?;
        Ok(Self {
            root,
            root_depth,
            last: None,
        })
    }

    /// Opens a directory of the tree, which may be its root.
    pub(crate) fn dir(&self, parts: &[&[u8]]) -> rustix::io::Result<OwnedFd> {
        let path = if parts.is_empty() {
            b".".to_vec()
        } else {
            parts.join(&b'/')
        };
        rustix::fs::openat2(
            &self.root,
            path.as_slice(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// Opens the directory that `parts` name for making something in it. What is missing of it is made.
    pub(crate) fn parent(
        &mut self,
        entry: &[u8],
        parts: &[&[u8]],
    ) -> Result<OwnedFd, ArchiveError> {
        let key = parts.join(&b'/');
        if let Some((path, dir)) = &self.last
            && *path == key
        {
            return dir.try_clone().map_err(|e| ArchiveError::unpack(entry, e));
        }
        let dir = self.make_parent(entry, parts)?;
        if depth(&dir).map_err(|e| ArchiveError::unpack(entry, e))? > self.root_depth + DEPTH_LIMIT
        {
            return Err(ArchiveError::entry(
                entry,
                "it lies more than 200 directories deep",
            ));
        }
        self.last = Some((
            key,
            dir.try_clone()
                .map_err(|e| ArchiveError::unpack(entry, e))?,
        ));
        Ok(dir)
    }

    fn make_parent(&self, entry: &[u8], parts: &[&[u8]]) -> Result<OwnedFd, ArchiveError> {
        match (self.dir(parts), parts.split_last()) {
            (Err(Errno::NOENT), Some((name, above))) => {
                let above = self.make_parent(entry, above)?;
                match rustix::fs::mkdirat(&above, *name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => {
                        return Err(ArchiveError::entry(
                            entry,
                            "a link in its path leads nowhere or out of the image",
                        ));
                    }
                    Err(errno) => return Err(ArchiveError::unpack(entry, errno)),
                }
                // Whatever the umask of this process is.
                rustix::fs::chmodat(&above, *name, Mode::from_raw_mode(0o755), AtFlags::empty())
                    .and_then(|()| {
                        let flags =
                            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        rustix::fs::openat(&above, *name, flags, Mode::empty())
                    })
                    .map_err(|e| ArchiveError::unpack(entry, e))
            }
            (Err(Errno::NOTDIR), _) => Err(ArchiveError::entry(
                entry,
                "a part of its path is not a directory",
            )),
            (Err(Errno::LOOP), _) => Err(ArchiveError::entry(
                entry,
                "links in its path go round in circles",
            )),
            (result, _) => result.map_err(|e| ArchiveError::unpack(entry, e)),
        }
    }
}

/// How many components the real path of a directory has.
fn depth(dir: &OwnedFd) -> rustix::io::Result<usize> {
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(dir));
    let path = rustix::fs::readlink(link, Vec::new())?;
    Ok(path.as_bytes().iter().filter(|b| **b == b'/').count())
}

/// What is there under a name, itself, not what it links to.
pub(crate) fn existing(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<Existing> {
    let stat = rustix::fs::statx(
        dir,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::BASIC_STATS,
    )?;
    Ok(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => Existing::Directory,
        FileType::CharacterDevice if stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0 => {
            Existing::Whiteout
        }
        _ => Existing::Other,
    })
}

/// See [`existing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Directory,
    Whiteout,
    Other,
}

/// Makes overlayfs hide what lower layers have under this name.
pub(crate) fn whiteout(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Makes overlayfs hide what lower layers have in this directory.
pub(crate) fn make_opaque(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let name = CString::new(OPAQUE).expect("a constant without NUL");
    rustix::fs::fsetxattr(&dir, name.as_c_str(), b"y", XattrFlags::empty())
}
