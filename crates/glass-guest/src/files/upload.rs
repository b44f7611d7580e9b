//! Replacing a file whole or not at all.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::filesystem::WrittenFile;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use tokio::io::AsyncWriteExt as _;

use crate::fault;
use crate::identity::as_user;
use crate::paths::Place;

/// How many names may be taken.
const TRIES: u32 = 1000;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A new file beside the one that it will replace. Dropped before [`Upload::commit`] it leaves nothing, soon;
/// [`Upload::discard`] waits until nothing is left.
#[derive(Debug)]
pub(super) struct Upload {
    place: Place,
    file: tokio::fs::File,
    temporary: Temporary,
}

#[derive(Debug)]
struct Temporary {
    /// The directory and the name in it, until the file has been removed or has taken its place.
    there: Option<(OwnedFd, OsString)>,
    name: OsString,
}

impl Temporary {
    /// Removes the file; on a thread that is the user, because the guest itself may not write the user's directories.
    fn remove(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        let (directory, own) = self.there.take()?;
        Some(tokio::task::spawn_blocking(move || {
            // The directory may be gone with all that was in it.
            let _ = rustix::fs::unlinkat(&directory, &own, AtFlags::empty());
        }))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(self.remove());
    }
}

impl Upload {
    pub(super) async fn begin(place: Place) -> Result<Self, RpcError> {
        let (place, file, temporary) = as_user(move || create(place)).await?;
        Ok(Self {
            place,
            file: tokio::fs::File::from_std(file),
            temporary,
        })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), RpcError> {
        self.file
            .write_all(bytes)
            .await
            .map_err(|error| self.place.fault(error))
    }

    /// Takes it back, and returns when nothing of it is left.
    pub(super) async fn discard(mut self) {
        if let Some(removal) = self.temporary.remove() {
            // Nothing can be done about a removal that panicked, and it cannot.
            let _ = removal.await;
        }
    }

    /// Makes it durable, then visible.
    pub(super) async fn commit(mut self) -> Result<WrittenFile, RpcError> {
        if let Err(error) = self.settle().await {
            let fault = self.place.fault(error);
            self.discard().await;
            return Err(fault);
        }
        let Self {
            place,
            mut temporary,
            ..
        } = self;
        as_user(move || {
            let name = &temporary.name;
            if let Some((directory, own)) = &temporary.there {
                rustix::fs::renameat(directory, own, directory, name)
                    .map_err(|error| place.fault(error))?;
                rustix::fs::fsync(directory).map_err(|error| place.fault(error))?;
            }
            temporary.there = None;
            Ok(WrittenFile {
                path: place.shown(),
                name: temporary.name.to_string_lossy().into_owned(),
                kind: "file".to_owned(),
            })
        })
        .await
    }

    /// Everything that was written is on the disk.
    async fn settle(&mut self) -> std::io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await
    }
}

fn create(place: Place) -> Result<(Place, std::fs::File, Temporary), RpcError> {
    place.make_parents()?;
    // A link is written through, as an editor would.
    let (place, mode) = match place.resolved() {
        Some((target, stat)) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => (target, stat.st_mode & 0o777),
            FileType::Directory => {
                return Err(fault::invalid(format!("{} is a directory", place.shown())));
            }
            _ => {
                return Err(fault::invalid(format!(
                    "{} is not a regular file",
                    place.shown()
                )));
            }
        },
        None => (place, 0o644),
    };
    let (parent, name) = place.parent()?;
    let directory = rustix::fs::openat(
        &parent,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| place.fault(error))?;
    let (own, file) = fresh(&directory).map_err(|error| place.fault(error))?;
    let temporary = Temporary {
        there: Some((directory, own)),
        name,
    };
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| place.fault(error))?;
    Ok((place, std::fs::File::from(file), temporary))
}

/// Makes a file with a name of its own. One that a guest has left there that was killed goes: in its sandbox it had the
/// same process id.
fn fresh(directory: &OwnedFd) -> Result<(OsString, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut tries = 0;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let own = OsString::from(format!(".glasshouse-upload-{id}-{number}"));
        match rustix::fs::openat(directory, &own, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) if tries < TRIES => {
                // The next number is free sooner or later, whether or not it goes.
                rustix::fs::unlinkat(directory, &own, AtFlags::empty()).ok();
                tries += 1;
            }
            opened => return opened.map(|file| (own, file)),
        }
    }
}
