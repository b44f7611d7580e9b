//! From a row to a guest that answers, and what is attached to it as long as it does.

use std::sync::Arc;

use glass_image::Image;
use glass_store::{NewSandboxEvent, SandboxRow, Shift};
use glass_types::SandboxState;

use super::driver::{Down, Driver};
use super::move_of;
use super::{Sandboxes, spec};
use crate::error::ApiError;

impl Sandboxes {
    pub(crate) async fn image(&self, name: &str) -> Result<Image, ApiError> {
        let (images, name) = (self.images.clone(), name.to_owned());
        let get = tokio::task::spawn_blocking(move || images.get(&name)).await;
        Ok(get.map_err(|error| ApiError(crate::error::internal(&error)))??)
    }

    /// From a row in state `creating` to a guest that answers and a row in state `running`, in our turn. `fetching` is
    /// told how far its files are that come from the archive, in percent.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        row: &SandboxRow,
        told: Option<NewSandboxEvent>,
        fetching: impl Fn(u8) + Send + Sync,
    ) -> Result<(), ApiError> {
        // The digest, not the name: a rebuilt image must not change a sandbox that is only started again.
        let image = match self.image(&row.image_digest).await {
            Ok(image) => image,
            Err(_) => self.image(&row.image).await?,
        };
        let spec = spec(row, &image, self.gateway_port);
        self.runtime.create(&spec).await?;
        self.fetch_from_archive(driver, row, fetching).await?;
        // Bound before the start, so that the guest's first connection finds it.
        self.attach_gateway(driver).await?;
        self.runtime.start(&spec).await?;
        self.watch_exit(driver);
        self.follow_crashes(driver);
        let shift = Shift {
            event: told,
            ..move_of(driver, SandboxState::Creating, SandboxState::Running)
        };
        self.shift(driver, shift).await?;
        driver.inner().is_open = true;
        Ok(())
    }

    /// Serves a sandbox that runs without us, in our turn.
    pub(super) async fn attach(self: &Arc<Self>, driver: &Arc<Driver>) -> Result<(), ApiError> {
        self.attach_gateway(driver).await?;
        self.watch_exit(driver);
        self.follow_crashes(driver);
        Ok(())
    }

    /// Serves the sandbox's gateway socket until it is detached.
    async fn attach_gateway(&self, driver: &Driver) -> Result<(), ApiError> {
        driver.detach(Down::Replaced);
        let token = self.shutdown.child_token();
        let listener = self.runtime.gateway(&driver.id).await?;
        let (gateway, sandbox, egress, stop) = (
            self.gateway.clone(),
            driver.id.clone(),
            Arc::clone(&driver.egress),
            token.clone().cancelled_owned(),
        );
        self.tracker
            .spawn(async move { gateway.serve(sandbox, egress, listener, stop).await });
        driver.attach(token);
        Ok(())
    }
}
