//! The socket of one sandbox.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use glass_types::SandboxId;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::egress::{self, EgressControl};

/// Connections of one sandbox at the same time; more wait in the socket's backlog.
const CONNECTIONS: usize = 256;
/// How long answers in flight may go on after the shutdown.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait when the host is out of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

impl Gateway {
    /// Serves the agents of `sandbox` on its own socket until `shutdown` is ready. Answers in flight then have a short
    /// grace; connections that remain, and tunnels, are cut. `egress` is what the sandbox may reach besides models.
    pub async fn serve(
        &self,
        sandbox: SandboxId,
        egress: Arc<EgressControl>,
        listener: UnixListener,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let (door, doorkeeper) = self.inner.egress.door(sandbox.clone(), egress);
        let stopping = CancellationToken::new();
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &slots) => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(sandbox.id = %sandbox, %error, "accept on the gateway socket failed");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            };
            let gateway = self.inner.clone();
            let door = door.clone();
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                let door = door.clone();
                async move { Ok::<_, Infallible>(egress::handle(gateway, door, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let stopping = stopping.clone();
            connections.spawn(async move {
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = stopping.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a gateway connection ended early");
                }
                drop(slot);
            });
        }
        drop(listener);
        stopping.cancel();
        let all_end = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all_end).await.is_err() {
            tracing::debug!(sandbox.id = %sandbox, "cutting the gateway connections that are left");
        }
        connections.shutdown().await;
        doorkeeper.close().await;
    }
}

async fn accept(
    listener: &UnixListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}
