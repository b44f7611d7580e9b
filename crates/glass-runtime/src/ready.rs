//! Waits until a guest that makes its socket itself answers.
#![expect(
    unsafe_code,
    reason = "registering a descriptor with tokio is an unsafe call"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use glass_launch::SOCKET_FILE;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{health, socket};

/// Returns when the guest whose socket appears in `dir` has answered.
pub(crate) async fn answered(dir: &Path) -> io::Result<()> {
    let watch = Watch::new(dir)?;
    loop {
        // Looked at after the watch began, so an appearance between the two is seen by one of them.
        match socket::connect(dir, SOCKET_FILE).await {
            Ok(stream) => return health::probe(stream).await,
            Err(e) if e.kind() == io::ErrorKind::NotFound => watch.changed().await?,
            Err(e) => return Err(e),
        }
    }
}

/// How often it is looked where the kernel tells of nothing. All sandboxes together may take the watches that it has for
/// one user.
const LOOK: Duration = Duration::from_millis(20);

/// Tells when a name appears in a directory.
enum Watch {
    Told(AsyncFd<OwnedFd>),
    Looked,
}

impl Watch {
    fn new(dir: &Path) -> io::Result<Self> {
        let fd = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::MFILE) => return Ok(Self::Looked),
            Err(e) => return Err(e.into()),
        };
        match inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO) {
            Ok(_) => {}
            Err(Errno::NOSPC) => return Ok(Self::Looked),
            Err(e) => return Err(e.into()),
        }
        // SAFETY: an `OwnedFd` gives the same open descriptor as long as it lives, and `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        Ok(Self::Told(fd))
    }

    async fn changed(&self) -> io::Result<()> {
        let Self::Told(fd) = self else {
            tokio::time::sleep(LOOK).await;
            return Ok(());
        };
        loop {
            let mut ready = fd.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            match Reader::new(fd.get_ref(), &mut buffer).next() {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
