//! From a row to a guest that answers, and what is attached to it as long as it does.

use std::sync::Arc;
use std::time::Duration;

use glass_image::Image;
use glass_store::SandboxRow;
use glass_types::{SandboxId, SandboxState};

use super::{Sandboxes, spec};
use crate::error::ApiError;

impl Sandboxes {
    pub(crate) async fn image(&self, name: &str) -> Result<Image, ApiError> {
        let (images, name) = (self.images.clone(), name.to_owned());
        let get = tokio::task::spawn_blocking(move || images.get(&name)).await;
        Ok(get.map_err(|error| ApiError(crate::error::internal(&error)))??)
    }

    /// From a row in state `creating` to a guest that answers and a row in state `running`.
    pub(super) async fn bring_up(self: &Arc<Self>, row: &SandboxRow) -> Result<(), ApiError> {
        // The digest, not the name: a rebuilt image must not change a sandbox that is only started again.
        let image = match self.image(&row.image_digest).await {
            Ok(image) => image,
            Err(_) => self.image(&row.image).await?,
        };
        let spec = spec(row, &image, self.gateway.egress(), self.gateway_port);
        self.runtime.create(&spec).await?;
        // Bound before the start, so that the guest's first connection finds it.
        self.attach_gateway(&row.id).await?;
        self.runtime.start(&spec).await?;
        self.watch_exit(&row.id);
        self.store
            .move_sandbox(&row.id, SandboxState::Creating, SandboxState::Running, None)
            .await?;
        Ok(())
    }

    pub(super) async fn attach(self: &Arc<Self>, id: &SandboxId) -> Result<(), ApiError> {
        self.attach_gateway(id).await?;
        self.watch_exit(id);
        Ok(())
    }

    /// Serves the sandbox's gateway socket until it is detached.
    async fn attach_gateway(&self, id: &SandboxId) -> Result<(), ApiError> {
        self.live.detach(id);
        let token = self.shutdown.child_token();
        let listener = self.runtime.gateway(id).await?;
        let (gateway, sandbox, stop) = (
            self.gateway.clone(),
            id.clone(),
            token.clone().cancelled_owned(),
        );
        self.tracker
            .spawn(async move { gateway.serve(sandbox, listener, stop).await });
        self.live.attach(id, token);
        Ok(())
    }

    /// Notes when a sandbox ends without anybody having asked for it.
    fn watch_exit(self: &Arc<Self>, id: &SandboxId) {
        let Some(token) = self.live.attached(id) else {
            return;
        };
        let (this, id) = (Arc::clone(self), id.clone());
        self.tracker.spawn(async move {
            let exited = tokio::select! {
                exited = this.runtime.exited(&id) => exited,
                () = token.cancelled() => return,
            };
            let _turn = this.live.turn(&id).await;
            if token.is_cancelled() {
                return;
            }
            let reason = match exited {
                Ok(()) => "its processes ended unexpectedly; start it again".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::warn!(sandbox.id = %id, reason, "sandbox ended");
            this.live.detach(&id);
            for state in [SandboxState::Running, SandboxState::Frozen] {
                if let Err(error) = this
                    .store
                    .move_sandbox(&id, state, SandboxState::Failed, Some(&reason))
                    .await
                {
                    tracing::error!(sandbox.id = %id, %error, "cannot note the end of a sandbox");
                }
            }
            if let Err(error) = this.runtime.stop(&id, Duration::ZERO).await {
                tracing::warn!(sandbox.id = %id, %error, "cannot clean up after a sandbox");
            }
        });
    }
}
