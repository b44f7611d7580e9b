//! Containers that a Docker daemon makes.
//!
//! Slower than the native runtime, and for hosts where that one is not possible. A container exists only while its
//! sandbox runs: stopping removes it, and starting makes a new one over the same files, which are directories of ours.
//! So whatever becomes of containers, volumes and images in the daemon, no file of a user is lost with them.
//!
//! What it cannot do: limit the disk of a sandbox, take snapshots, keep a root that programs were installed into.

mod container;
mod daemon;
mod files;
mod host;
mod image;
mod seccomp;
mod skeleton;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use glass_launch::SOCKET_FILE;
use glass_types::{Isolation, SandboxId};
use sha2::{Digest, Sha256};

pub use host::{DockerHost, docker_host, docker_socket};
pub use image::ImageArchive;

use crate::locks::Locks;
use crate::programs::{Programs, make_dir_all};
use crate::{
    BoxStream, DiskFiles, Runtime, RuntimeError, SandboxSpec, SandboxStatus, Stats, socket, state,
    step, tunnel,
};
use daemon::Daemon;
use image::Images;

/// Whose a container or an image is: which state directory's.
const STATE_LABEL: &str = "io.glasshouse.state";
/// Which sandbox a container is of.
const SANDBOX_LABEL: &str = "io.glasshouse.sandbox";
/// What an operator decides about the docker runtime.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    /// Where it keeps its programs and all files of its sandboxes.
    pub state_dir: PathBuf,
    /// The daemon's unix socket.
    pub socket: PathBuf,
    /// Makes the archives by which images reach the daemon.
    pub archive: Arc<dyn ImageArchive>,
}

/// Sandboxes as containers of a Docker daemon.
#[derive(Debug)]
pub struct DockerRuntime {
    daemon: Arc<Daemon>,
    locks: Arc<Locks>,
}

impl DockerRuntime {
    /// Connects to the daemon and prepares the state directory.
    ///
    /// # Errors
    /// When this process is not root, the daemon does not answer or lacks something, or the directory cannot be
    /// written.
    pub async fn open(config: DockerConfig) -> Result<Self, RuntimeError> {
        if !rustix::process::geteuid().is_root() {
            return Err(RuntimeError::Unsupported {
                what: "root".to_owned(),
                remedy: "the files of sandboxes have owners of their own also with Docker; start the server as root, or \
                         use the sim runtime"
                    .to_owned(),
            });
        }
        make_dir_all(&config.state_dir, 0o711)?;
        let io = |source| RuntimeError::Io {
            path: config.state_dir.clone(),
            source,
        };
        let state_dir = config.state_dir.canonicalize().map_err(io)?;
        if state_dir.to_str().is_none() {
            return Err(io(io::Error::other(
                "Docker takes only paths that are text; give another directory",
            )));
        }
        make_dir_all(&state_dir.join("sandboxes"), 0o711)?;
        let (docker, host) = host::reach(&config.socket).await?;
        let path = state_dir.as_os_str().as_encoded_bytes();
        let state = state::hex(&Sha256::digest(path)[..6]);
        let images = Images::new(docker.clone(), config.archive, state.clone(), &state_dir)?;
        if let Err(error) = images.prune().await {
            tracing::warn!(%error, "old images could not be removed from Docker");
        }
        tracing::warn!(
            docker.version = host.version,
            user_namespaces = host.user_namespaces,
            "sandboxes are made by Docker: their disk limit is not enforced, and there are no snapshots"
        );
        let daemon = Daemon {
            programs: Programs::write(&state_dir, &[])?,
            seccomp: seccomp::profile(),
            docker,
            host,
            state,
            state_dir,
            images,
        };
        Ok(Self {
            daemon: Arc::new(daemon),
            locks: Arc::default(),
        })
    }

    /// Runs an operation to its end even when nobody waits for it any more: the daemon would go on with it anyway, and
    /// the next one must find it finished.
    async fn whole<W>(
        &self,
        id: &SandboxId,
        work: impl FnOnce(Arc<Daemon>) -> W + Send + 'static,
    ) -> Result<(), RuntimeError>
    where
        W: Future<Output = Result<(), RuntimeError>> + Send,
    {
        let daemon = Arc::clone(&self.daemon);
        let locks = Arc::clone(&self.locks);
        let id = id.clone();
        let done = tokio::spawn(async move {
            let _lock = locks.lock(&id).await;
            work(daemon).await
        });
        match done.await {
            Ok(result) => result,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        }
    }
}

/// Whether the daemon refused with this status.
fn is_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let spec = spec.clone();
        self.whole(&spec.id.clone(), |daemon| async move {
            daemon.create(&spec).await
        })
        .await
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let spec = spec.clone();
        self.whole(&spec.id.clone(), |daemon| async move {
            daemon.start(&spec).await
        })
        .await
    }

    async fn freeze(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        self.daemon.set_frozen(id, true).await
    }

    async fn thaw(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        self.daemon.set_frozen(id, false).await
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), RuntimeError> {
        let own = id.clone();
        self.whole(id, move |daemon| async move {
            daemon.existing(&own)?;
            daemon.stop(&own, grace).await
        })
        .await
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let own = id.clone();
        self.whole(id, |daemon| async move { daemon.destroy(&own).await })
            .await?;
        self.locks.forget(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        self.daemon.list().await
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError> {
        self.daemon.stats(id).await
    }

    async fn exited(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.daemon.existing(id)?;
        self.daemon.exited(id).await;
        Ok(())
    }

    async fn last_words(&self, id: &SandboxId) -> Option<String> {
        Some(self.daemon.last_words(id).await).filter(|words| !words.is_empty())
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError> {
        // Not by the network namespace: it costs a question to the daemon to know which, gVisor has none of the
        // kernel's, and the daemon may be in another process namespace.
        tunnel(self.guest(id).await?, id, port).await
    }

    async fn guest(&self, id: &SandboxId) -> Result<BoxStream, RuntimeError> {
        let dir = self.daemon.existing(id)?;
        match socket::connect(&dir.guest(), SOCKET_FILE).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
                ) =>
            {
                Err(RuntimeError::NotRunning(id.clone()))
            }
            Err(e) => Err(step(id, "connect to the guest")(e)),
        }
    }

    async fn gateway(&self, id: &SandboxId) -> Result<tokio::net::UnixListener, RuntimeError> {
        let dir = self.daemon.existing(id)?;
        socket::bind(&dir.gateway(), "gateway.sock").map_err(step(id, "bind the gateway"))
    }

    fn supports(&self, isolation: Isolation) -> Result<(), RuntimeError> {
        self.daemon.host.runtime(isolation).map(drop)
    }

    fn has_disks(&self) -> bool {
        // With user namespaces the owners of files are not what they are inside.
        self.daemon.host.root == 0
    }

    async fn disk(&self, id: &SandboxId) -> Result<Option<DiskFiles>, RuntimeError> {
        let dir = self.daemon.existing(id)?;
        Ok(self.has_disks().then(|| DiskFiles::Directory(dir.disk())))
    }
}
