//! A tree onto a disk.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustic_core::TreeId;
use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::error::ArchiveError;
use crate::metadata;
use crate::meter::Meter;
use crate::repository::Indexed;
use crate::survey::{TOP, open_directory};

/// What is zero for so long becomes a hole.
const HOLE: usize = 4096;

/// Fills a disk.
pub(crate) struct Fill<'a> {
    from: &'a Indexed,
    root: BorrowedFd<'a>,
    /// Where the first name of a file with several is, below the root.
    links: HashMap<u64, PathBuf>,
    meter: &'a Meter,
}

/// Empties the disk and fills it with the tree.
pub(crate) fn fill(
    from: &Indexed,
    top: &TreeId,
    root: BorrowedFd<'_>,
    meter: &Meter,
) -> Result<(), ArchiveError> {
    empty(root)?;
    let tree = from.tree(top)?;
    let node = match tree.nodes.as_slice() {
        [node] if node.is_dir() && node.name == TOP => node,
        _ => return Err(from.damaged("its tree is not one of a disk")),
    };
    let mut fill = Fill {
        from,
        root,
        links: HashMap::new(),
        meter,
    };
    fill.children(root, node, Path::new(""))?;
    metadata::apply(root, c".", node).map_err(|reason| ArchiveError::disk("/", reason))?;
    // All at once is cheaper than each file by itself; nobody believes in any of them before.
    rustix::fs::syncfs(root).map_err(|error| ArchiveError::disk("/", error))
}

/// Removes what is there: the runtime seeds a new disk, and a fill that was killed left half of one.
fn empty(root: BorrowedFd<'_>) -> Result<(), ArchiveError> {
    let failed = |error: io::Error| ArchiveError::disk("/", error);
    for entry in Dir::read_from(root)
        .map_err(io::Error::from)
        .map_err(failed)?
    {
        let entry = entry.map_err(io::Error::from).map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            let path = format!("/proc/self/fd/{}", root.as_raw_fd());
            glass_launch::remove_tree(&Path::new(&path).join(OsStr::from_bytes(name)))
                .map_err(failed)?;
        }
    }
    Ok(())
}

impl Fill<'_> {
    fn children(
        &mut self,
        directory: BorrowedFd<'_>,
        node: &Node,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let Some(id) = node.subtree else {
            return Err(self
                .from
                .damaged(format!("directory {} has no tree", path.display())));
        };
        for child in self.from.tree(&id)?.nodes {
            let name = child.name();
            let path = path.join(&name);
            // What is stored was made by a walk and cannot be forged without the key; a defect of ours could still
            // lead out of the disk, which this makes impossible.
            if matches!(name.as_bytes(), b"" | b"." | b"..") || name.as_bytes().contains(&b'/') {
                return Err(self
                    .from
                    .damaged(format!("{} is no name of a file", path.display())));
            }
            let name = CString::new(name.as_bytes()).map_err(|_| {
                self.from
                    .damaged(format!("{} is no name of a file", path.display()))
            })?;
            self.entry(directory, &name, &child, &path)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CString,
        node: &Node,
        path: &Path,
    ) -> Result<(), ArchiveError> {
        let failed = |error: io::Error| ArchiveError::disk(path.display(), error);
        match &node.node_type {
            NodeType::Dir => {
                rustix::fs::mkdirat(directory, name, Mode::RWXU).map_err(|e| failed(e.into()))?;
                let child = open_directory(directory, name).map_err(|e| failed(e.into()))?;
                self.children(child.as_fd(), node, path)?;
            }
            NodeType::File => {
                if self.is_linked(node, path)? {
                    return Ok(());
                }
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(|e| failed(e.into()))?;
                self.contents(&File::from(file), node, path)?;
            }
            NodeType::Symlink { .. } => {
                rustix::fs::symlinkat(node.node_type.to_link(), directory, name)
                    .map_err(|e| failed(e.into()))?;
            }
            NodeType::Fifo => {
                rustix::fs::mknodat(directory, name, FileType::Fifo, Mode::RUSR, 0)
                    .map_err(|e| failed(e.into()))?;
            }
            NodeType::Chardev { device: 0 } => {
                rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|e| failed(e.into()))?;
            }
            NodeType::Chardev { .. } | NodeType::Dev { .. } | NodeType::Socket => {
                return Err(self.from.damaged(format!("{} is a device", path.display())));
            }
        }
        metadata::apply(directory, name, node)
            .map_err(|reason| ArchiveError::disk(path.display(), reason))
    }

    /// Whether the entry was another name of a file that is there.
    fn is_linked(&mut self, node: &Node, path: &Path) -> Result<bool, ArchiveError> {
        if node.meta.links < 2 || node.meta.inode == 0 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&node.meta.inode) else {
            self.links.insert(node.meta.inode, path.to_owned());
            return Ok(false);
        };
        // Both paths lead through directories that were made here, so there is no symlink to follow.
        rustix::fs::linkat(self.root, first, self.root, path, AtFlags::empty())
            .map_err(|error| ArchiveError::disk(path.display(), error))?;
        self.meter.add(node.meta.size);
        Ok(true)
    }

    fn contents(&mut self, file: &File, node: &Node, path: &Path) -> Result<(), ArchiveError> {
        let failed = |error: io::Error| ArchiveError::disk(path.display(), error);
        let mut at = 0;
        for piece in self.from.pieces(node) {
            let (_, bytes) = piece?;
            for part in bytes.chunks(HOLE) {
                if part.iter().any(|byte| *byte != 0) {
                    file.write_all_at(part, at).map_err(failed)?;
                }
                at += part.len() as u64;
            }
            self.meter.add(bytes.len() as u64);
        }
        if at != node.meta.size {
            return Err(self
                .from
                .damaged(format!("file {} has another length", path.display())));
        }
        file.set_len(at).map_err(failed)
    }
}
