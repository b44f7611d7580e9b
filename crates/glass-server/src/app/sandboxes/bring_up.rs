//! From a row to a guest that answers, and what is attached to it as long as it does.

use std::sync::Arc;
use std::time::Duration;

use glass_image::Image;
use glass_store::SandboxRow;
use glass_types::SandboxState;

use super::driver::{Down, Driver};
use super::{Sandboxes, spec};
use crate::error::ApiError;

impl Sandboxes {
    pub(crate) async fn image(&self, name: &str) -> Result<Image, ApiError> {
        let (images, name) = (self.images.clone(), name.to_owned());
        let get = tokio::task::spawn_blocking(move || images.get(&name)).await;
        Ok(get.map_err(|error| ApiError(crate::error::internal(&error)))??)
    }

    /// From a row in state `creating` to a guest that answers and a row in state `running`, in our turn.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        row: &SandboxRow,
    ) -> Result<(), ApiError> {
        // The digest, not the name: a rebuilt image must not change a sandbox that is only started again.
        let image = match self.image(&row.image_digest).await {
            Ok(image) => image,
            Err(_) => self.image(&row.image).await?,
        };
        let spec = spec(row, &image, self.gateway.egress(), self.gateway_port);
        self.runtime.create(&spec).await?;
        // Bound before the start, so that the guest's first connection finds it.
        self.attach_gateway(driver).await?;
        self.runtime.start(&spec).await?;
        self.watch_exit(driver);
        self.shift(driver, SandboxState::Creating, SandboxState::Running, None)
            .await?;
        driver.inner().is_open = true;
        Ok(())
    }

    /// Serves a sandbox that runs without us, in our turn.
    pub(super) async fn attach(self: &Arc<Self>, driver: &Arc<Driver>) -> Result<(), ApiError> {
        self.attach_gateway(driver).await?;
        self.watch_exit(driver);
        Ok(())
    }

    /// Serves the sandbox's gateway socket until it is detached.
    async fn attach_gateway(&self, driver: &Driver) -> Result<(), ApiError> {
        driver.detach(Down::Replaced);
        let token = self.shutdown.child_token();
        let listener = self.runtime.gateway(&driver.id).await?;
        let (gateway, sandbox, stop) = (
            self.gateway.clone(),
            driver.id.clone(),
            token.clone().cancelled_owned(),
        );
        self.tracker
            .spawn(async move { gateway.serve(sandbox, listener, stop).await });
        driver.attach(token);
        Ok(())
    }

    /// Notes when a sandbox ends without anybody having asked for it.
    fn watch_exit(self: &Arc<Self>, driver: &Arc<Driver>) {
        let Some(attached) = driver.attached() else {
            return;
        };
        let (this, driver) = (Arc::clone(self), Arc::clone(driver));
        self.tracker.spawn(async move {
            let exited = tokio::select! {
                exited = this.runtime.exited(&driver.id) => exited,
                () = attached.token.cancelled() => return,
            };
            let _turn = driver.turn().await;
            if attached.token.is_cancelled() {
                return;
            }
            let reason = match exited {
                Ok(()) => "its processes ended unexpectedly; start it again".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(sandbox.id = %driver.id, reason, "sandbox ended");
            this.metrics.death();
            driver.detach(Down::Died);
            let state = driver.inner().state;
            if let Err(ApiError(problem)) = this
                .shift(&driver, state, SandboxState::Failed, Some(&reason))
                .await
            {
                tracing::error!(sandbox.id = %driver.id, error = %problem.detail, "cannot note the end of a sandbox");
            }
            if let Err(error) = this.runtime.stop(&driver.id, Duration::ZERO).await {
                tracing::warn!(sandbox.id = %driver.id, %error, "cannot clean up after a sandbox");
            }
        });
    }
}
