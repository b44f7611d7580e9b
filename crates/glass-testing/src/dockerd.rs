//! A Docker daemon of the tests' own: nothing of it is shared with one that the host may have.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that ends with this, and all it made.
#[derive(Debug)]
pub struct Dockerd {
    process: Option<Child>,
    arguments: Vec<String>,
    dir: tempfile::TempDir,
}

impl Dockerd {
    /// Starts one that makes containers without any network.
    ///
    /// # Errors
    /// When it is not installed, or what it said when it does not start.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut daemon = Self {
            process: None,
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            dir: tempfile::tempdir()?,
        };
        daemon.up()?;
        Ok(daemon)
    }

    /// One for all tests that run now, started by the first of them and ended with the last.
    ///
    /// # Errors
    /// As [`Dockerd::start`].
    pub fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Dockerd>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = shared.upgrade() {
            return Ok(daemon);
        }
        let daemon = Arc::new(Self::start(&[])?);
        *shared = Arc::downgrade(&daemon);
        Ok(daemon)
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Starts it again over the same files.
    ///
    /// # Errors
    /// As [`Dockerd::start`].
    pub fn up(&mut self) -> anyhow::Result<()> {
        let dir = self.dir.path();
        let ready = dir.join("ready.sock");
        drop(std::fs::remove_file(&ready));
        let ready_socket = UnixDatagram::bind(&ready)?;
        ready_socket.set_read_timeout(Some(PATIENCE))?;
        let log = std::fs::File::create(dir.join("log"))?;
        let process = Command::new("dockerd")
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(&self.arguments)
            .env("NOTIFY_SOCKET", &ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the package docker.io is not installed")?;
        self.process = Some(process);
        let mut word = [0; 256];
        match ready_socket.recv(&mut word) {
            Ok(length) => {
                ensure!(word[..length].starts_with(b"READY=1"), "an odd message");
                Ok(())
            }
            Err(e) => {
                let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
                self.down();
                bail!("dockerd is not ready: {e}: {log}");
            }
        }
    }

    /// Ends it as an operator would. Its containers end too, unless it was told to leave them.
    pub fn down(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        if let Some(pid) = Pid::from_raw(process.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        drop(process.wait());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.down();
        // It leaves mounts of its own.
        for mount in mounts(self.dir.path()).into_iter().rev() {
            let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Mount points below a directory, in the order in which they were made.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(dir))
        .collect()
}
