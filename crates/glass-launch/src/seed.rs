//! The home's first content: what the image has at `/home/dev`, copied once.
//!
//! The image is hostile, so each file is opened from its directory and no link is followed. Everything becomes the
//! sandbox user's own, without set-user-id bits.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use glass_launch::remove_tree;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};

const DEV: u32 = 1000;
/// Deeper trees than this are no home of a sensible image.
const DEPTH: usize = 64;

/// Copies `root/home/dev` to `disk/home` unless that was done at an earlier start.
pub(crate) fn seed_home() -> io::Result<()> {
    let marker = Path::new("disk/seeded");
    if marker.exists() {
        return Ok(());
    }
    let home = Path::new("disk/home");
    remove_tree(home)?;
    let from = open_directory(CWD, c"root/home/dev")?;
    let to = make_directory(CWD, c"disk/home", 0o755)?;
    copy(from.as_fd(), to.as_fd(), DEPTH)?;
    if rustix::fs::statat(&to, "workspace", AtFlags::SYMLINK_NOFOLLOW).is_err() {
        make_directory(to.as_fd(), c"workspace", 0o755)?;
    }
    std::fs::write(marker, "")
}

fn open_directory(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn make_directory(parent: BorrowedFd<'_>, name: &std::ffi::CStr, mode: u32) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?;
    let made = open_directory(parent, name)?;
    rustix::fs::fchown(&made, Some(Uid::from_raw(DEV)), Some(Gid::from_raw(DEV)))?;
    Ok(made)
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    if depth == 0 {
        let text = format!("the image's /home/dev is deeper than {DEPTH} directories");
        return Err(io::Error::other(text));
    }
    let mut entries = Dir::read_from(from)?;
    while let Some(entry) = entries.read() {
        let name: CString = entry?.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = stat.st_mode & 0o777;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let source = open_directory(from, &name)?;
                // Writable for its owner, or the user could not even remove it.
                let target = make_directory(to, &name, mode | 0o700)?;
                copy(source.as_fd(), target.as_fd(), depth - 1)?;
            }
            FileType::RegularFile => copy_file(from, to, &name, mode)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, &name, Vec::new())?;
                rustix::fs::symlinkat(&target, to, &name)?;
                own(to, &name)?;
            }
            // Nothing else belongs into a home.
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CString,
    mode: u32,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(mode))?;
    let mut target = File::from(target);
    io::copy(&mut source, &mut target)?;
    own(to, name)
}

fn own(directory: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
    rustix::fs::chownat(
        directory,
        name,
        Some(Uid::from_raw(DEV)),
        Some(Gid::from_raw(DEV)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}
