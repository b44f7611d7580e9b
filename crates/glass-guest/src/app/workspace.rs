//! What lies in the workspace, and when that changes.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Dir, FileType, OFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::detect::{BELOW, Listing, READ};
use crate::files::open_regular;
use crate::identity::as_user;
use crate::paths::Root;
use crate::process::nonblocking;

/// More names than this are not looked at.
const MAX_NAMES: usize = 10_000;
/// Of a file that decides, no more than this.
const MAX_READ: u64 = 256 << 10;
/// A workspace that is being written is looked at when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(300);
/// But not later than this.
const IMPATIENT: Duration = Duration::from_secs(3);
/// How often it is looked at where the kernel does not tell of changes.
const POLL: Duration = Duration::from_secs(2);
/// And where it does, for what is not watched: directories below that came later.
const SLOW_POLL: Duration = Duration::from_secs(10);

/// Reads what decides. What cannot be read is not there.
pub(super) async fn read(root: &Root) -> Listing {
    let root = root.clone();
    as_user(move || {
        let mut listing = Listing::new();
        let place = root.place("")?;
        let directory = place
            .open(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| place.fault(error))?;
        let names = Dir::read_from(&directory).map_err(|error| place.fault(error))?;
        for entry in names.take(MAX_NAMES) {
            let Ok(entry) = entry else { break };
            if let Ok(name) = entry.file_name().to_str() {
                listing.insert(name.to_owned(), String::new());
            }
        }
        for name in READ {
            if !listing.contains_key(name) {
                continue;
            }
            let Ok((file, _)) = root.place(name).and_then(|place| open_regular(&place)) else {
                listing.remove(name);
                continue;
            };
            let mut bytes = Vec::new();
            // What was read before an error decides as well as it can.
            let _ = file.take(MAX_READ).read_to_end(&mut bytes);
            listing.insert(
                name.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            );
        }
        for name in BELOW {
            let stat = root.place(name).ok().and_then(|place| place.resolved());
            if stat.is_some_and(|(_, stat)| {
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            }) {
                listing.insert(name.to_owned(), String::new());
            }
        }
        Ok(listing)
    })
    .await
    .unwrap_or_default()
}

/// Tells of changes in the workspace.
#[derive(Debug)]
pub(super) struct Watcher {
    /// None where the kernel does not tell.
    events: Option<AsyncFd<OwnedFd>>,
}

impl Watcher {
    pub(super) async fn new(workspace: &Path) -> Self {
        let workspace: PathBuf = workspace.to_owned();
        let fd = as_user(move || Ok(watch(&workspace).ok())).await;
        Self {
            events: fd.ok().flatten().and_then(|fd| nonblocking(fd).ok()),
        }
    }

    /// Returns some time after something may have changed, when it is quiet again.
    pub(super) async fn changed(&mut self) {
        let Some(events) = &self.events else {
            sleep(POLL).await;
            return;
        };
        if timeout(SLOW_POLL, event(events)).await.is_err() {
            return;
        }
        let quiet = async { while timeout(QUIET, event(events)).await.is_ok() {} };
        // A workspace that is never quiet is looked at all the same.
        let _ = timeout(IMPATIENT, quiet).await;
    }
}

fn watch(workspace: &Path) -> std::io::Result<OwnedFd> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, workspace, flags)?;
    Ok(fd)
}

async fn event(events: &AsyncFd<OwnedFd>) {
    let mut buffer = [0; 4096];
    let read = events
        .async_io(tokio::io::Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut buffer)?)
        })
        .await;
    if read.is_err() {
        // Broken for good: as if the kernel told nothing.
        sleep(POLL).await;
    }
}
