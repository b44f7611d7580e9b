//! Waits until a guest that makes its socket itself answers.
#![expect(
    unsafe_code,
    reason = "registering a descriptor with tokio is an unsafe call"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use glass_launch::SOCKET_FILE;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{health, socket};

/// Returns when the guest whose socket appears in `dir` has answered.
pub(super) async fn answered(dir: &Path) -> io::Result<()> {
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

/// Tells when a name appears in a directory.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    fn new(dir: &Path) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, dir, WatchFlags::MOVED_TO)?;
        // SAFETY: an `OwnedFd` gives the same open descriptor as long as it lives, and `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
        Ok(Self(fd))
    }

    async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            match Reader::new(self.0.get_ref(), &mut buffer).next() {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(e) => return Err(e.into()),
            }
        }
    }
}
