//! A guest of its own for each test. Dropping it ends the guest and removes its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use glass_guest_protocol::{GuestConfig, Listen};
use glass_runtime::{
    BoxStream, GuestClient, Runtime, RuntimeError, SandboxSpec, SandboxStatus, Stats,
};
use glass_types::SandboxId;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};

/// Longer than anything takes on a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Socket(PathBuf);

fn unused<T>() -> Result<T, RuntimeError> {
    Err(RuntimeError::Unsupported {
        what: "this operation".into(),
        remedy: "use a real runtime".into(),
    })
}

#[async_trait]
impl Runtime for Socket {
    fn name(&self) -> &'static str {
        "socket"
    }
    async fn create(&self, _: &SandboxSpec) -> Result<(), RuntimeError> {
        unused()
    }
    async fn start(&self, _: &SandboxSpec) -> Result<(), RuntimeError> {
        unused()
    }
    async fn freeze(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        unused()
    }
    async fn thaw(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        unused()
    }
    async fn stop(&self, _: &SandboxId, _: Duration) -> Result<(), RuntimeError> {
        unused()
    }
    async fn destroy(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        unused()
    }
    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        unused()
    }
    async fn stats(&self, _: &SandboxId) -> Result<Stats, RuntimeError> {
        unused()
    }
    async fn exited(&self, _: &SandboxId) -> Result<(), RuntimeError> {
        unused()
    }
    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError> {
        glass_runtime::tunnel(self.guest(id).await?, id, port).await
    }
    async fn guest(&self, _: &SandboxId) -> Result<BoxStream, RuntimeError> {
        let stream = UnixStream::connect(&self.0)
            .await
            .map_err(|source| RuntimeError::Io {
                path: self.0.clone(),
                source,
            })?;
        Ok(Box::new(stream))
    }
    async fn gateway(&self, _: &SandboxId) -> Result<UnixListener, RuntimeError> {
        unused()
    }
}

pub(crate) struct Guest {
    pub(crate) client: GuestClient,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) process: Child,
    directory: tempfile::TempDir,
}

impl Guest {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A guest whose workspace is filled before it looks.
    pub(crate) async fn start_with(fill: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("home/workspace")).unwrap();
        std::fs::create_dir(directory.path().join("state")).unwrap();
        fill(&directory.path().join("home/workspace"));
        let process = spawn(directory.path());
        let runtime: Arc<dyn Runtime> = Arc::new(Socket(directory.path().join("guest.sock")));
        let guest = Self {
            client: GuestClient::new(Arc::clone(&runtime), SandboxId::random()),
            runtime,
            process,
            directory,
        };
        guest.answers().await;
        guest
    }

    /// Kills the guest as a crash would, and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.process.kill().await.unwrap();
        self.process = spawn(self.directory.path());
        self.answers().await;
    }

    async fn answers(&self) {
        let attempts = async {
            let mut pause = tokio::time::interval(Duration::from_millis(10));
            while self.client.health().await.is_err() {
                pause.tick().await;
            }
        };
        tokio::time::timeout(LONG, attempts).await.unwrap();
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.home().join("workspace")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn gateway_socket(&self) -> PathBuf {
        self.directory.path().join("gateway.sock")
    }
}

fn spawn(directory: &Path) -> Child {
    let home = directory.join("home");
    let config = GuestConfig {
        sandbox: "test".into(),
        listen: Listen::Path(directory.join("guest.sock")),
        gateway_socket: directory.join("gateway.sock"),
        gateway_port: 0,
        state_dir: directory.join("state"),
        workspace: home.join("workspace"),
        home,
        run_as: None,
        confine_to_home: true,
        sudo: false,
        env: BTreeMap::from([("FROM_CONFIG".to_owned(), "yes".to_owned())]),
    };
    Command::new(env!("CARGO_BIN_EXE_glass-guest"))
        .env(
            GuestConfig::VARIABLE,
            serde_json::to_string(&config).unwrap(),
        )
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
