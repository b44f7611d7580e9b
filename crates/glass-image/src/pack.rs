//! Makes the archive of a layer from its unpacked tree.
//!
//! The same tree gives the same bytes: entries are sorted and carry nothing but what the tree holds. That makes the
//! digest of the archive, the *diff id*, the name of the layer.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::cancel::Cancel;
use crate::digest::{Digest, Hashing};

/// Marks a directory that hides all that lower layers have there.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// The attributes that a layer keeps.
pub(crate) const CAPABILITY: &str = "security.capability";

/// Digest and length of the archive of a tree.
pub(crate) fn digest(tree: &Path, cancel: &Cancel) -> io::Result<(Digest, u64)> {
    let mut hashing = Hashing::new(io::sink());
    pack(
        tree,
        io::BufWriter::with_capacity(1 << 18, &mut hashing),
        cancel,
    )?;
    Ok(hashing.finish())
}

/// Writes the archive of a tree that nobody changes meanwhile.
pub(crate) fn pack(tree: &Path, out: impl Write, cancel: &Cancel) -> io::Result<()> {
    let mut packer = Packer {
        out: Builder::new(out),
        links: HashMap::new(),
    };
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let on_disk = tree.join(&path);
        let metadata = fs::symlink_metadata(&on_disk)?;
        packer.entry(&on_disk, &path, &metadata)?;
        if metadata.is_dir() {
            let mut children = fs::read_dir(&on_disk)?
                .map(|child| child.map(|c| path.join(c.file_name())))
                .collect::<io::Result<Vec<_>>>()?;
            // The last one is taken first.
            children.sort_unstable_by(|a, b| b.cmp(a));
            pending.append(&mut children);
        }
    }
    packer.out.into_inner()?.flush()
}

struct Packer<W: Write> {
    out: Builder<W>,
    /// Files with several names, by inode: the first name.
    links: HashMap<u64, PathBuf>,
}

impl<W: Write> Packer<W> {
    fn entry(&mut self, on_disk: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(metadata.mtime().try_into().unwrap_or(0));
        header.set_size(0);

        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            let name = if path.as_os_str().is_empty() {
                Path::new("./")
            } else {
                path
            };
            self.out.append_data(&mut header, name, io::empty())?;
            if attribute(on_disk, OPAQUE)?.is_some_and(|value| value == b"y") {
                self.mark(&path.join(".wh..wh..opq"))?;
            }
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            let mut name = std::ffi::OsString::from(".wh.");
            name.push(path.file_name().unwrap_or_default());
            self.mark(&path.with_file_name(name))?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            self.out
                .append_link(&mut header, path, fs::read_link(on_disk)?)?;
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
            self.out.append_data(&mut header, path, io::empty())?;
        } else if kind.is_file() {
            if metadata.nlink() > 1 {
                if let Some(first) = self.links.get(&metadata.ino()) {
                    header.set_entry_type(EntryType::Link);
                    return self.out.append_link(&mut header, path, first);
                }
                self.links.insert(metadata.ino(), path.to_owned());
            }
            if let Some(capability) = attribute(on_disk, CAPABILITY)? {
                let key = format!("SCHILY.xattr.{CAPABILITY}");
                self.out
                    .append_pax_extensions([(key.as_str(), capability.as_slice())])?;
            }
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            self.out
                .append_data(&mut header, path, File::open(on_disk)?)?;
        }
        // Sockets and devices mean nothing without the process or host that made them.
        Ok(())
    }

    fn mark(&mut self, path: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.out.append_data(&mut header, path, io::empty())
    }
}

fn attribute(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; 1024];
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    match rustix::fs::lgetxattr(path.as_c_str(), name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
