//! Starts a container through the launcher and waits until its guest answers.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use glass_guest_protocol::{DEV_UID, GuestConfig, HOME, Listen, RunAs, WORKSPACE};
use glass_launch::{Disk, GVISOR_SOCKETS, LaunchReport, LaunchSpec, SOCKET_FILE, StepTime};
use glass_types::{Isolation, RootMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;

use super::sandbox::SandboxDir;
use super::timings::Timings;
use super::{NativeRuntime, gvisor};
use crate::{RuntimeError, SandboxSpec, step};

impl NativeRuntime {
    /// Starts the container; its guest may not answer yet. Removes the control groups when it fails.
    ///
    /// `alone` keeps other launchers out until the disk was looked at: one whose start was cancelled may only now begin,
    /// and what it starts would not let go of the disk. It starts the container then, and ours finds it running.
    pub(super) async fn launch(
        &self,
        spec: &SandboxSpec,
        dir: &SandboxDir,
        alone: Option<File>,
        timings: &mut Timings,
    ) -> Result<(), RuntimeError> {
        let id = &spec.id;
        let record = dir
            .record()?
            .ok_or_else(|| RuntimeError::Unknown(id.clone()))?;
        if spec.layers.is_empty() {
            return Err(step(id, "find the image")("it has no layer"));
        }
        let disk = if record.image {
            let image = self.place_of(id, dir, record.pooled);
            // The last container may still be letting go of it; two must never have one file system.
            self.let_go(dir, &record, &image)
                .await
                .map_err(step(id, "wait for the disk"))?;
            Disk::Image(image)
        } else {
            Disk::Directory
        };
        drop(alone);
        timings.done("look for the last container");
        let group = self.group(id);
        let cgroups = group
            .make(&gvisor::limits(spec))
            .map_err(step(id, "make the control groups"))?;
        gvisor::prepare(dir, spec.isolation, record.uid_base)?;
        let launch = LaunchSpec {
            id: id.to_string(),
            dir: dir.path.clone(),
            layers: spec.layers.clone(),
            disk,
            guest: self.programs.guest.clone(),
            seccomp: self.programs.seccomp.clone(),
            uid_base: record.uid_base,
            cgroups,
            env: guest_env(&guest_config(spec)),
            writable_root: spec.root == RootMode::Writable,
            gvisor: match spec.isolation {
                Isolation::Gvisor => Some(self.gvisor.program()?.to_owned()),
                Isolation::Container | Isolation::MicroVm => None,
            },
            open_files: spec.limits.open_files,
            // Its network is gVisor's own, where the kernel hands nothing over: the proxy alone leads out.
            way_out: (spec.isolation != Isolation::Gvisor).then(|| GuestConfig::SOCKETS.to_owned()),
            bare: false,
        };
        timings.done("make control groups");
        let launched = self
            .run_launcher(None, &launch)
            .await
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => RuntimeError::Ended {
                    id: id.clone(),
                    said: String::new(),
                },
                _ => step(id, "launch")(e),
            });
        if launched.is_err() {
            group
                .remove()
                .await
                .map_err(step(id, "remove the control groups"))?;
        }
        timings.launched(launched?);
        Ok(())
    }

    /// Has the launcher launch, or do what the word says. [`io::ErrorKind::UnexpectedEof`] says that init ended without a
    /// word.
    pub(super) async fn run_launcher(
        &self,
        word: Option<&str>,
        spec: &LaunchSpec,
    ) -> io::Result<Vec<StepTime>> {
        match self.run_program(word, spec).await? {
            LaunchReport::Started(steps) => Ok(steps),
            LaunchReport::Ended => Err(io::ErrorKind::UnexpectedEof.into()),
            LaunchReport::Failed { step, reason } => {
                Err(io::Error::other(format!("{step}: {reason}")))
            }
        }
    }

    /// Runs the launcher as what the word says, and returns its answer. It is not killed when this call is cancelled: it
    /// ends by itself, in a state that is recorded.
    pub(super) async fn run_program<A: DeserializeOwned>(
        &self,
        word: Option<&str>,
        spec: &impl Serialize,
    ) -> io::Result<A> {
        let text = serde_json::to_vec(spec)?;
        let mut program = tokio::process::Command::new(&self.programs.launcher)
            .args(word)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = program.stdin.take().expect("it was piped");
        // One that ends early says why in its answer, which matters more than the broken pipe.
        let sent = input.write_all(&text).await;
        drop(input);
        let output = program.wait_with_output().await?;
        if let Ok(answer) = serde_json::from_slice(&output.stdout) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        if text.trim().is_empty() {
            sent?;
        }
        let status = output.status;
        Err(io::Error::other(format!("{status}: {}", text.trim())))
    }
}

fn guest_config(spec: &SandboxSpec) -> GuestConfig {
    GuestConfig {
        sandbox: spec.id.to_string(),
        listen: match spec.isolation {
            Isolation::Gvisor => Listen::Path(Path::new(GVISOR_SOCKETS).join(SOCKET_FILE)),
            Isolation::Container | Isolation::MicroVm => Listen::Fd(3),
        },
        gateway_socket: PathBuf::from("/run/glasshouse/gateway.sock"),
        gateway_port: spec.gateway_port,
        state_dir: PathBuf::from("/var/lib/glasshouse"),
        home: PathBuf::from(HOME),
        workspace: PathBuf::from(WORKSPACE),
        run_as: Some(RunAs {
            uid: DEV_UID,
            gid: DEV_UID,
        }),
        confine_to_home: false,
        sudo: spec.root == RootMode::Writable,
        env: spec.env.clone(),
    }
}

pub(super) fn guest_env(config: &GuestConfig) -> Vec<(String, String)> {
    let text = serde_json::to_string(config).expect("the configuration is plain data");
    vec![(GuestConfig::VARIABLE.to_owned(), text)]
}
