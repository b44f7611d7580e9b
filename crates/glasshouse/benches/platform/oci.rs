//! The same image under the reference runtime for containers, with its defaults.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::place::Place;

const RUNTIME: &str = "runc";

/// A bundle that can be started again and again.
pub(crate) struct Bundle {
    directory: TempDir,
    name: String,
}

impl Bundle {
    /// None where there is no such runtime.
    pub(crate) fn new(place: &Place) -> anyhow::Result<Option<Self>> {
        if Command::new(RUNTIME).arg("--version").output().is_err() {
            return Ok(None);
        }
        let directory = tempfile::tempdir_in(place.directory())?;
        let at = |name: &str| directory.path().join(name);
        for name in ["rootfs", "upper", "work"] {
            std::fs::create_dir(at(name))?;
        }
        run(Command::new(RUNTIME).arg("spec").current_dir(&directory))?;
        let config: PathBuf = at("config.json");
        let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&config)?)?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["sleep", "1000"]);
        std::fs::write(&config, spec.to_string())?;
        let layers: Vec<String> = place
            .layers()
            .map(|path| path.display().to_string())
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            layers.join(":"),
            at("upper").display(),
            at("work").display()
        );
        let options = std::ffi::CString::new(options)?;
        rustix::mount::mount(
            "overlay",
            at("rootfs"),
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .context("mount the image")?;
        let name = format!("glasshouse-bench-{}", std::process::id());
        Ok(Some(Self { directory, name }))
    }

    /// From the call to a process that runs; it is ended again.
    pub(crate) fn start(&self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        run(Command::new(RUNTIME)
            .args(["run", "--detach", "--bundle"])
            .args([self.directory.path(), Path::new(&self.name)])
            .stdin(Stdio::null())
            // It would be the container's, and kept open.
            .stdout(Stdio::null())
            .stderr(Stdio::null()))?;
        let time = begin.elapsed();
        run(Command::new(RUNTIME).args(["delete", "--force", &self.name]))?;
        Ok(time)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let rootfs = self.directory.path().join("rootfs");
        // Left mounted it only keeps its own directory.
        let _ = rustix::mount::unmount(&rootfs, UnmountFlags::DETACH);
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().context(RUNTIME)?;
    ensure!(status.success(), "{RUNTIME}: {status}");
    Ok(())
}
