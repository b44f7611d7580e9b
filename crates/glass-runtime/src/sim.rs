//! Sandboxes without isolation: guests as plain processes of this user, for tests and laptops.
//!
//! An image is not used; programs are the host's. Every process of a sandbox carries the sandbox's id in its
//! environment, by which all of them are found again, also those that left their parent, and by the next server.

mod copy;
mod crowd;
mod inherit;
mod snapshot;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use glass_guest_protocol::{GuestConfig, Listen};
use glass_launch::{INIT_FILE, InitRecord, SOCKET_FILE, remove_tree};
use glass_types::SandboxId;
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::process::Init;
use crate::programs::{Programs, make_dir_all, write_atomically};
use crate::{
    Activity, BoxStream, DiskFiles, Runtime, RuntimeError, SandboxSpec, SandboxStatus, Snapshots,
    Stats, health, socket, state, step,
};
use crowd::Crowd;

/// Sandboxes as directories and plain processes.
#[derive(Debug)]
pub struct SimRuntime {
    state_dir: PathBuf,
    guest: PathBuf,
    /// Starting and ending are rare here, so one lock serves all sandboxes.
    changing: tokio::sync::Mutex<()>,
}

impl SimRuntime {
    /// Prepares the state directory.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(state_dir: impl Into<PathBuf>) -> Result<Self, RuntimeError> {
        let given = state_dir.into();
        make_dir_all(&given.join("sandboxes"), 0o700)?;
        make_dir_all(&given.join("snapshots"), 0o700)?;
        snapshot::sweep(&given.join("snapshots"))?;
        let state_dir = given.canonicalize().map_err(|source| RuntimeError::Io {
            path: given,
            source,
        })?;
        Ok(Self {
            guest: Programs::write(&state_dir, &[])?.guest,
            state_dir,
            changing: tokio::sync::Mutex::default(),
        })
    }

    fn dir(&self, id: &SandboxId) -> PathBuf {
        state::dir_of(&self.state_dir, id)
    }

    fn existing(&self, id: &SandboxId) -> Result<PathBuf, RuntimeError> {
        let dir = self.dir(id);
        if dir.is_dir() {
            Ok(dir)
        } else {
            Err(RuntimeError::Unknown(id.clone()))
        }
    }

    fn running(&self, id: &SandboxId) -> Result<(PathBuf, Init), RuntimeError> {
        let dir = self.existing(id)?;
        let init = Init::find(&dir)
            .map_err(|source| RuntimeError::Io {
                path: dir.join(INIT_FILE),
                source,
            })?
            .ok_or_else(|| RuntimeError::NotRunning(id.clone()))?;
        Ok((dir, init))
    }

    fn spawn(&self, spec: &SandboxSpec, dir: &Path) -> io::Result<()> {
        let socket = dir.join(SOCKET_FILE);
        remove_tree(&socket)?;
        let listener = UnixListener::bind(&socket).map_err(|e| {
            io::Error::new(
                e.kind(),
                format!("{}: {e}; a shorter state directory helps", socket.display()),
            )
        })?;
        let log = fs::File::create(dir.join("guest.log"))?;
        let mut guest = std::process::Command::new(&self.guest);
        let socket_number = inherit::pass(&mut guest, listener.into());
        let mut env = spec.env.clone();
        env.insert(Crowd::VARIABLE.to_owned(), spec.id.to_string());
        let config = GuestConfig {
            sandbox: spec.id.to_string(),
            // It listens from the start, so nobody need wait for it.
            listen: Listen::Fd(socket_number),
            gateway_socket: dir.join("gateway/gateway.sock"),
            gateway_port: spec.gateway_port,
            state_dir: dir.join("disk/state"),
            home: dir.join("disk/home"),
            workspace: dir.join("disk/home/workspace"),
            run_as: None,
            confine_to_home: true,
            sudo: false,
            env,
        };
        // A process group of its own: no Ctrl-C at the server's terminal reaches it.
        let child = guest
            .current_dir(dir.join("disk/home"))
            .process_group(0)
            .env(GuestConfig::VARIABLE, serde_json::to_string(&config)?)
            .env(Crowd::VARIABLE, spec.id.as_str())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        reap(child);
        let record = serde_json::to_vec(&InitRecord::of(pid)?)?;
        write_atomically(&dir.join(INIT_FILE), &record, 0o600)
    }

    /// Ends all processes.
    async fn end(&self, id: &SandboxId, dir: &Path, grace: Duration) -> io::Result<()> {
        let crowd = Crowd::new(id);
        if let Some(init) = Init::find(dir)? {
            if !grace.is_zero() {
                crowd.signal(Signal::CONT);
                init.signal(Signal::TERM)?;
                init.ends_within(grace).await?;
            }
            init.signal(Signal::KILL)?;
            init.exited().await?;
        }
        crowd.kill().await?;
        for name in [INIT_FILE, SOCKET_FILE] {
            remove_tree(&dir.join(name))?;
        }
        Ok(())
    }
}

/// Waits for the guest in the background, so that it does not stay as a zombie. The thread ends with the guest; when the
/// server ends before, the guest becomes the child of the host's init.
fn reap(mut guest: std::process::Child) {
    std::thread::spawn(move || guest.wait().map(drop));
}

#[async_trait]
impl Runtime for SimRuntime {
    fn name(&self) -> &'static str {
        "sim"
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        self.supports(spec.isolation)?;
        let dir = self.dir(&spec.id);
        if let Some(snapshot) = &spec.from
            && !dir.join("disk").exists()
        {
            self.fork(&spec.id, snapshot, &dir).await?;
        }
        for name in ["disk/home/workspace", "disk/state", "gateway"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir.join(name))
                .map_err(step(&spec.id, "make the directories"))?;
        }
        Ok(())
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        self.supports(spec.isolation)?;
        let _lock = self.changing.lock().await;
        let dir = self.existing(&spec.id)?;
        if matches!(self.running(&spec.id), Err(RuntimeError::NotRunning(_))) {
            self.spawn(spec, &dir)
                .map_err(step(&spec.id, "execute the guest"))?;
        }
        let (dir, init) = self.running(&spec.id)?;
        health::answered(&spec.id, &dir, &init).await
    }

    async fn freeze(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.running(id)?;
        Crowd::new(id)
            .freeze()
            .await
            .map_err(step(id, "stop the processes"))
    }

    async fn thaw(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.running(id)?;
        Crowd::new(id).signal(Signal::CONT);
        Ok(())
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), RuntimeError> {
        let _lock = self.changing.lock().await;
        let dir = self.existing(id)?;
        self.end(id, &dir, grace)
            .await
            .map_err(step(id, "end the processes"))
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.changing.lock().await;
        let dir = self.dir(id);
        if !dir.exists() {
            return Ok(());
        }
        self.end(id, &dir, Duration::ZERO)
            .await
            .map_err(step(id, "end the processes"))?;
        remove_tree(&dir).map_err(step(id, "remove the files"))
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let mut all = Vec::new();
        for id in state::sandboxes(&self.state_dir)? {
            let activity = match self.running(&id) {
                Ok((_, init)) if crowd::is_stopped(init.pid) => Activity::Frozen,
                Ok(_) => Activity::Running,
                Err(_) => Activity::Stopped,
            };
            all.push(SandboxStatus { id, activity });
        }
        Ok(all)
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError> {
        self.running(id)?;
        Ok(Crowd::new(id).stats())
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn has_disks(&self) -> bool {
        true
    }

    async fn disk(&self, id: &SandboxId) -> Result<Option<DiskFiles>, RuntimeError> {
        match self.running(id) {
            Ok(_) => Err(RuntimeError::StillRunning(id.clone())),
            Err(RuntimeError::NotRunning(_)) => {
                Ok(Some(DiskFiles::Directory(self.dir(id).join("disk"))))
            }
            Err(e) => Err(e),
        }
    }

    async fn exited(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        match self.running(id) {
            Ok((_, init)) => init.exited().await.map_err(step(id, "wait for the end")),
            Err(RuntimeError::NotRunning(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn last_words(&self, id: &SandboxId) -> Option<String> {
        Some(health::log_tail(&self.dir(id))).filter(|words| !words.is_empty())
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError> {
        self.running(id)?;
        for host in ["127.0.0.1", "::1"] {
            if let Ok(stream) = TcpStream::connect((host, port)).await {
                return Ok(Box::new(stream));
            }
        }
        Err(RuntimeError::PortClosed {
            id: id.clone(),
            port,
        })
    }

    async fn guest(&self, id: &SandboxId) -> Result<BoxStream, RuntimeError> {
        let (dir, _) = self.running(id)?;
        match socket::connect(&dir, SOCKET_FILE).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Err(RuntimeError::NotRunning(id.clone()))
            }
            Err(e) => Err(step(id, "connect to the guest")(e)),
        }
    }

    async fn gateway(&self, id: &SandboxId) -> Result<tokio::net::UnixListener, RuntimeError> {
        let dir = self.existing(id)?;
        socket::bind(&dir.join("gateway"), "gateway.sock").map_err(step(id, "bind the gateway"))
    }
}
