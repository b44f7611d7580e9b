//! Unix sockets by paths of any length.
//!
//! The kernel takes at most 107 bytes. So the directory is opened, and the socket is named through it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

fn open(dir: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(dir)
}

fn through(dir: &File, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())
}

/// Connects to the socket `name` in `dir`. A sandbox may own the directory, so no link is followed.
pub(crate) async fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    if !cfg!(target_os = "linux") {
        return UnixStream::connect(dir.join(name)).await;
    }
    let dir = open(dir)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = rustix::fs::openat(&dir, name, flags, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

/// Binds `name` in `dir` anew and lets everybody connect who can reach it. There is a socket of that name at any time
/// from the first call on.
pub(crate) fn bind(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let fresh = format!("{name}.{}", std::process::id());
    let handle = open(dir)?;
    match std::fs::remove_file(dir.join(&fresh)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(through(&handle, &fresh))?;
    std::fs::set_permissions(dir.join(&fresh), std::fs::Permissions::from_mode(0o666))?;
    std::fs::rename(dir.join(&fresh), dir.join(name))?;
    Ok(listener)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_in_the_place_of_a_socket_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = bind(dir.path(), "real.sock").unwrap();
        connect(dir.path(), "real.sock").await.unwrap();
        std::os::unix::fs::symlink("real.sock", dir.path().join("link.sock")).unwrap();
        let error = connect(dir.path(), "link.sock").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = connect(dir.path(), "none.sock").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
