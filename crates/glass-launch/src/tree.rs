//! Removes a tree that hostile code made.
//!
//! Nothing is followed: each directory is opened from its parent without symlinks, and names are removed from there.
//! The depth is bounded by moving what lies too deep to the top, so neither the stack nor the number of open files
//! grows with the tree.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Directories open at once.
const DEPTH: usize = 32;
/// Rounds after which what goes on appearing is nobody's removal.
const PATIENCE: u32 = 1000;

/// Removes `path` and all below it. It is no error when there is nothing, or somebody else removes it at the same time.
///
/// # Errors
/// What the kernel said of the first thing that could not be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    let Some(top) = open_directory(rustix::fs::CWD, path)? else {
        return Ok(());
    };
    let (mut moved, mut others) = (0_u64, 0);
    // Every round removes all but what was moved up from too deep below, by us or by another who does the same.
    loop {
        let before = moved;
        clear(top.as_fd(), top.as_fd(), DEPTH, &mut moved)?;
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if others < PATIENCE => {
                others += u32::from(moved == before);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// `None` when it is gone.
fn open_directory<P: rustix::path::Arg>(
    parent: BorrowedFd<'_>,
    name: P,
) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn clear(
    top: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    depth: usize,
    moved: &mut u64,
) -> io::Result<()> {
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name: CString = entry.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        match rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        if depth == 0 {
            raise(top, directory, &name, moved)?;
            continue;
        }
        let Some(child) = open_directory(directory, &name)? else {
            continue;
        };
        clear(top, child.as_fd(), depth - 1, moved)?;
        drop(child);
        match rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Moves a directory to the top under a name that is free there.
fn raise(
    top: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &CString,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        *moved += 1;
        let target = format!(".glasshouse-removed-{moved}");
        match rustix::fs::renameat_with(
            directory,
            name,
            top,
            target,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        std::os::unix::fs::symlink("/", tree.join("root")).unwrap();
        std::fs::write(tree.join("a/b/file\n\u{1}"), "x").unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let mut at = open_directory(rustix::fs::CWD, &tree).unwrap().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deep", Mode::from_bits_truncate(0o700)).unwrap();
            at = open_directory(at.as_fd(), "deep").unwrap().unwrap();
        }
        drop(at);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_link_in_place_of_the_tree_loses_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let link = dir.path().join("tree");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        remove_tree(&link).unwrap();
        assert!(outside.exists() && !link.exists());
    }

    #[test]
    fn two_may_remove_the_same() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            let tree = dir.path().join("tree");
            for number in 0..3 {
                let deep = tree.join(format!("{number}/{}", "d/".repeat(DEPTH + 2)));
                std::fs::create_dir_all(deep).unwrap();
            }
            std::thread::scope(|scope| {
                let both = [
                    scope.spawn(|| remove_tree(&tree)),
                    scope.spawn(|| remove_tree(&tree)),
                ];
                for one in both {
                    one.join().unwrap().unwrap();
                }
            });
            assert!(!tree.exists());
        }
    }
}
