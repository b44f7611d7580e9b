//! The least time in which the guest can be up: what starting a sandbox is measured against.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use glass_guest_protocol::{GuestConfig, Listen};
use glass_launch::{Disk, LOCK_FILE, LaunchSpec, remove_tree};
use glass_types::SandboxId;
use rustix::process::Signal;
use tokio::time::Instant;

use super::NativeRuntime;
use super::launch::guest_env;
use crate::process::Init;
use crate::{RuntimeError, health, step};

impl NativeRuntime {
    /// Starts the same guest with namespaces and a root of its own and nothing else, and ends it again: no image, no
    /// limits, no filters. Returns the time until it answered.
    ///
    /// # Errors
    /// When it could not be started.
    pub async fn floor(&self) -> Result<Duration, RuntimeError> {
        let id = SandboxId::random();
        // Beside the sandboxes, so that nobody takes it for one.
        let dir = self.state_dir.join(format!("floor-{id}"));
        let measured = self.measure(&id, &dir).await;
        remove_tree(&dir).map_err(step(&id, "remove the floor"))?;
        measured
    }

    async fn measure(&self, id: &SandboxId, dir: &Path) -> Result<Duration, RuntimeError> {
        std::fs::create_dir_all(dir.join("mnt"))
            .and_then(|()| std::fs::write(dir.join(LOCK_FILE), ""))
            .map_err(step(id, "make the floor"))?;
        let config = GuestConfig {
            sandbox: id.to_string(),
            listen: Listen::Fd(3),
            gateway_socket: PathBuf::from("/gateway.sock"),
            gateway_port: 0,
            state_dir: PathBuf::from("/state"),
            home: PathBuf::from("/home"),
            workspace: PathBuf::from("/home/workspace"),
            run_as: None,
            confine_to_home: false,
            sudo: false,
            env: BTreeMap::new(),
        };
        let spec = LaunchSpec {
            id: id.to_string(),
            dir: dir.to_owned(),
            layers: vec![],
            disk: Disk::Directory,
            guest: self.programs.guest.clone(),
            seccomp: self.programs.seccomp.clone(),
            uid_base: 0,
            cgroups: vec![],
            env: guest_env(&config),
            writable_root: false,
            gvisor: None,
            open_files: 1024,
            way_out: None,
            bare: true,
        };
        let start = Instant::now();
        self.run_launcher(None, &spec)
            .await
            .map_err(step(id, "launch the floor"))?;
        let gone = || io::Error::other("the guest ended");
        let init = Init::find(dir)
            .and_then(|init| init.ok_or_else(gone))
            .map_err(step(id, "find the floor"))?;
        let answered = health::answered(id, dir, &init).await;
        let time = start.elapsed();
        init.signal(Signal::KILL)
            .map_err(step(id, "end the floor"))?;
        init.exited().await.map_err(step(id, "end the floor"))?;
        answered.map(|()| time)
    }
}
