//! Copies a directory: files, directories and links, as they are.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Copies `from` to `to`, which must not exist, and returns how many bytes of files there are. Sockets and the like, which
/// are nothing without their process, are left out.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    // The modes of directories come last, for one may be read-only.
    let mut modes = Vec::new();
    let mut todo = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = todo.pop() {
        fs::create_dir(&to)?;
        modes.push((to.clone(), fs::metadata(&from)?.permissions()));
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
            if kind.is_dir() {
                todo.push((entry.path(), target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, target)?;
            } else if kind.is_file() {
                bytes += fs::copy(entry.path(), target)?;
            }
        }
    }
    for (path, mode) in modes.into_iter().rev() {
        fs::set_permissions(path, mode)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn all_but_sockets_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        let _socket = UnixListener::bind(from.join("socket")).unwrap();
        assert_eq!(copy_tree(&from, &to).unwrap(), 4);
        assert_eq!(fs::read(to.join("a/b/file")).unwrap(), b"text");
        assert_eq!(
            fs::metadata(to.join("a/b")).unwrap().permissions().mode() & 0o777,
            0o500
        );
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(!to.join("socket").exists());
    }
}
