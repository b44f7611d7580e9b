//! The archive as the life of a sandbox uses it: files go there when nobody wants them for long, and come back.

use std::path::{Path, PathBuf};

use glass_api::{Code, Problem};
use glass_archive::{
    Archive, ArchiveError, ArchiveRef, Disk, LocationError, Progress, Settings, Stored, Worker,
};
use glass_runtime::DiskFiles;
use glass_store::Store;
use glass_types::SandboxId;

use crate::clock;
use crate::error::ApiError;

/// The encryption key, in the data directory. Whoever loses it loses the archive.
const KEY: &str = "archive.key";

/// The archive of this server.
#[derive(Debug)]
pub(crate) struct Archives {
    archive: Archive,
}

impl Archives {
    /// Checks the settings and asks nobody.
    pub(crate) fn new(
        settings: Settings,
        data: &Path,
        program: Option<PathBuf>,
    ) -> Result<Self, LocationError> {
        let worker = program.map_or(Worker::Thread, |path| Worker::Program {
            path,
            arguments: ["internal", "archive"].map(str::to_owned).into(),
        });
        Archive::new(settings, data.join(KEY), worker).map(|archive| Self { archive })
    }

    /// Archives the files of a sandbox that has no process, unless they are wanted meanwhile. Once the name is in its
    /// row, the local files may go.
    pub(crate) async fn store(
        &self,
        id: &SandboxId,
        files: DiskFiles,
        wanted: impl Future<Output = ()> + Send,
    ) -> Result<Stored, ArchiveError> {
        self.archive.store(id, disk(files), wanted).await
    }

    /// Fills the disk that the runtime made with the files of an archive, and tells how far it is in percent. When it
    /// answers they are checked and on stable storage; until then the sandbox must not start from them.
    pub(crate) async fn fetch(
        &self,
        archive: &ArchiveRef,
        files: DiskFiles,
        told: impl Fn(u8) + Send + Sync,
    ) -> Result<(), ArchiveError> {
        let told = |now: Progress| {
            let percent = (now.done * 100).checked_div(now.total);
            told(percent.and_then(|it| it.try_into().ok()).unwrap_or(0));
        };
        self.archive.fetch(archive, disk(files), told).await
    }

    /// Tries whether the store can be written, read and cleaned up.
    pub(crate) async fn check(&self) -> Result<(), ArchiveError> {
        self.archive.check().await
    }

    /// Forgets what no row names and frees what nothing uses. Takes its time; the archive waits meanwhile.
    pub(crate) async fn tidy(&self, store: &Store) -> Result<(), ApiError> {
        let wanted = async || {
            let rows = store.sandboxes().await?;
            // A name that cannot be read is somebody's all the same: nothing is tidied then.
            rows.into_iter()
                .filter_map(|row| row.archive)
                .map(|name| name.parse().map_err(unreadable))
                .collect::<Result<Vec<_>, ApiError>>()
        };
        match self.archive.tidy(wanted, clock::now() / 1000).await? {
            Ok(tidied) => {
                if tidied != glass_archive::Tidied::default() {
                    tracing::info!(
                        forgotten = tidied.forgotten,
                        freed = tidied.freed,
                        "the archive is tidy"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the archive could not be tidied; it is tried again")
            }
        }
        Ok(())
    }
}

fn disk(files: DiskFiles) -> Disk {
    match files {
        DiskFiles::Image(path) => Disk::Image(path),
        DiskFiles::Directory(path) => Disk::Directory(path),
    }
}

/// The name of an archive in a row, which the server wrote itself.
pub(super) fn unreadable(reason: String) -> ApiError {
    Problem::new(Code::Internal, reason).into()
}
