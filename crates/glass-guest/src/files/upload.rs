//! Replacing a file whole or not at all.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::filesystem::WrittenFile;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use tokio::io::AsyncWriteExt as _;

use crate::fault;
use crate::identity::as_user;
use crate::paths::Place;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A new file beside the one that it will replace. Dropped before [`Upload::commit`] it leaves nothing.
#[derive(Debug)]
pub(super) struct Upload {
    place: Place,
    file: tokio::fs::File,
    temporary: Temporary,
}

#[derive(Debug)]
struct Temporary {
    directory: OwnedFd,
    name: OsString,
    own: OsString,
    replaced: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.replaced {
            // The directory may be gone with all that was in it.
            let _ = rustix::fs::unlinkat(&self.directory, &self.own, AtFlags::empty());
        }
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

    /// Makes it durable, then visible.
    pub(super) async fn commit(mut self) -> Result<WrittenFile, RpcError> {
        let place = self.place;
        self.file
            .flush()
            .await
            .map_err(|error| place.fault(error))?;
        self.file
            .sync_all()
            .await
            .map_err(|error| place.fault(error))?;
        let mut temporary = self.temporary;
        as_user(move || {
            let directory = &temporary.directory;
            rustix::fs::renameat(directory, &temporary.own, directory, &temporary.name)
                .map_err(|error| place.fault(error))?;
            temporary.replaced = true;
            rustix::fs::fsync(&temporary.directory).map_err(|error| place.fault(error))?;
            Ok(WrittenFile {
                path: place.shown(),
                name: temporary.name.to_string_lossy().into_owned(),
                kind: "file".to_owned(),
            })
        })
        .await
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
    let own = OsString::from(format!(
        ".glasshouse-upload-{}-{}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed)
    ));
    let file = rustix::fs::openat(
        &directory,
        &own,
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .map_err(|error| place.fault(error))?;
    let temporary = Temporary {
        directory,
        name,
        own,
        replaced: false,
    };
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|error| place.fault(error))?;
    Ok((place, std::fs::File::from(file), temporary))
}
