//! What edge and gateway ask of the server.

use std::sync::Arc;

use async_trait::async_trait;
use glass_edge::{Origins, Stream, Unreachable};
use glass_gateway::{Caller, Tokens};
use glass_runtime::RuntimeError;
use glass_store::Store;
use glass_types::{SandboxId, SandboxState};

use crate::app::Sandboxes;
use crate::error::ApiError;

/// Previews lead into sandboxes.
pub(crate) struct SandboxOrigins(pub(crate) Arc<Sandboxes>);

#[async_trait]
impl Origins for SandboxOrigins {
    async fn connect(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<Box<dyn Stream>, Unreachable> {
        let row = match self.0.get(sandbox).await {
            Ok(row) => row,
            Err(ApiError(problem)) if problem.status == 404 => {
                return Err(Unreachable::UnknownSandbox(sandbox.to_string()));
            }
            Err(ApiError(problem)) => return Err(Unreachable::Failed(problem.detail)),
        };
        if row.state != SandboxState::Running {
            return Err(Unreachable::NotRunning {
                sandbox: sandbox.clone(),
                state: row.state.to_string(),
            });
        }
        match self.0.runtime().connect(sandbox, port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(RuntimeError::PortClosed { .. }) => {
                let open = match self.0.guest(sandbox).await {
                    Ok(guest) => guest.ports().await.unwrap_or_default(),
                    Err(_) => Vec::new(),
                };
                let open = open.into_iter().map(|port| port.port).collect();
                Err(Unreachable::PortClosed {
                    sandbox: sandbox.clone(),
                    port,
                    open,
                })
            }
            Err(RuntimeError::NotRunning(_) | RuntimeError::Unknown(_)) => {
                Err(Unreachable::NotRunning {
                    sandbox: sandbox.clone(),
                    state: "stopping".to_owned(),
                })
            }
            Err(error) => Err(Unreachable::Failed(error.to_string())),
        }
    }
}

/// Sandbox tokens are in the sandboxes' rows.
pub(crate) struct SandboxTokens(pub(crate) Store);

#[async_trait]
impl Tokens for SandboxTokens {
    async fn resolve(&self, token: &str) -> anyhow::Result<Option<Caller>> {
        let row = self.0.sandbox_by_token(token).await?;
        Ok(row.map(|row| Caller { sandbox: row.id }))
    }
}
