//! The last rest: files in the archive, nothing here.

use std::sync::Arc;

use glass_api::{Code, Problem};
use glass_archive::{ArchiveError, ArchiveRef};
use glass_runtime::DiskFiles;
use glass_store::{ArchiveChange, SandboxRow, Shift};
use glass_types::SandboxState;
use serde_json::json;

use super::Sandboxes;
use super::driver::Driver;
use super::move_of;
use super::rest::event;
use crate::app::archive::unreadable;
use crate::error::ApiError;

impl Sandboxes {
    /// Moves the files of a stopped sandbox into the archive, in our turn. They are here until the archive has given all
    /// of them back and the row has their name; who wants the sandbox before gets our turn, and it stays stopped.
    pub(super) async fn move_to_archive(&self, driver: &Arc<Driver>) -> Result<(), ApiError> {
        if self.get(&driver.id).await?.archive.is_some() {
            // A fetch failed: the archive still has the files, and what is here is a part of them at most.
            let shift = move_of(driver, SandboxState::Stopped, SandboxState::Archived);
            self.shift(driver, shift).await?;
            return Ok(self.runtime.destroy(&driver.id).await?);
        }
        let files = self.files_of(driver).await?;
        let stored = match self
            .archives
            .store(&driver.id, files, driver.wanted())
            .await
        {
            Ok(stored) => stored,
            Err(ArchiveError::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let archived = &stored.archived;
        let shift = Shift {
            archive: ArchiveChange::Set(archived.archive.to_string()),
            ..move_of(driver, SandboxState::Stopped, SandboxState::Archived)
        };
        let data = json!({ "bytes": archived.bytes, "added": archived.added });
        self.shift(driver, shift.telling(event("archived", data)))
            .await?;
        drop(stored);
        // Killed before this is done, the reconciler does it.
        Ok(self.runtime.destroy(&driver.id).await?)
    }

    /// Fills the new disk of a sandbox with its files in the archive, if they are there, in our turn and before it is
    /// started. `told` how far that is, in percent.
    pub(super) async fn fetch_from_archive(
        &self,
        driver: &Arc<Driver>,
        row: &SandboxRow,
        told: impl Fn(u8) + Send + Sync,
    ) -> Result<(), ApiError> {
        let Some(name) = &row.archive else {
            return Ok(());
        };
        let archive: ArchiveRef = name.parse().map_err(unreadable)?;
        let files = self.files_of(driver).await?;
        self.archives.fetch(&archive, files, told).await?;
        // Before anything in it runs: fetched a second time, they would take the place of what it wrote.
        let shift = Shift {
            archive: ArchiveChange::Clear,
            ..move_of(driver, SandboxState::Creating, SandboxState::Creating)
        };
        self.shift(driver, shift).await
        // Nobody names the archive any more, so the next tidying forgets it.
    }

    async fn files_of(&self, driver: &Driver) -> Result<DiskFiles, ApiError> {
        self.runtime.disk(&driver.id).await?.ok_or_else(|| {
            let detail = format!(
                "the files of sandbox {} cannot be archived: the {} runtime keeps them where the server cannot read them",
                driver.id,
                self.runtime.name()
            );
            ApiError(Problem::new(Code::HostUnsupported, detail))
        })
    }
}
