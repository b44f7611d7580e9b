//! Whether `runsc` runs here: it runs a program, as it would a sandbox.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use glass_launch::{GVISOR_FLAGS, remove_tree};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

/// It takes a fifth of a second.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};
/// How much of what it says is told.
const TOLD: usize = 300;

/// Where it is, or why sandboxes cannot have it.
pub(in crate::native) fn probe() -> Result<PathBuf, String> {
    let places = ["/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"];
    let found = places.iter().map(|dir| Path::new(dir).join("runsc"));
    let Some(runsc) = found.into_iter().find(|path| path.exists()) else {
        return Err("runsc is not installed".to_owned());
    };
    if !rustix::process::geteuid().is_root() {
        return Err("only root can run runsc".to_owned());
    }
    match works(&runsc) {
        Ok(()) => Ok(runsc),
        Err(e) => Err(format!("{} does not run here: {e}", runsc.display())),
    }
}

fn works(runsc: &Path) -> io::Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("glasshouse-runsc-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    // Not one that is there: whose it is nobody knows.
    DirBuilder::new().mode(0o700).create(&dir)?;
    let outcome = run(runsc, &dir);
    remove_tree(&dir)?;
    outcome
}

fn run(runsc: &Path, dir: &Path) -> io::Result<()> {
    let said = dir.join("said");
    let mut child = Command::new(runsc)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("--root")
        .arg(dir)
        .args(GVISOR_FLAGS)
        .args(["do", "/bin/sh", "-c", "exit 0"])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said)?)
        .spawn()?;
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let ended = rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE));
    if !matches!(ended, Ok(1)) {
        // It is not reaped yet, so the group is still its own.
        rustix::process::kill_process_group(pid, Signal::KILL)?;
        child.wait()?;
        return Err(io::Error::other(format!(
            "no end within {} s",
            PATIENCE.tv_sec
        )));
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read(said)?;
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|line| !line.trim().is_empty());
    let line: String = line
        .unwrap_or("it said nothing")
        .chars()
        .take(TOLD)
        .collect();
    Err(io::Error::other(format!("{status}: {line}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn outcome(script: &str) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("runsc");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        works(&program).map_err(|e| e.to_string())
    }

    #[test]
    fn what_it_says_when_it_fails_is_the_reason() {
        assert_eq!(outcome("exit 0"), Ok(()));
        let reason = outcome("echo flag provided but not defined >&2; echo usage >&2; exit 2");
        let reason = reason.unwrap_err();
        assert!(
            reason.contains("not defined") && !reason.contains("usage"),
            "{reason}"
        );
        assert!(outcome("exit 1").unwrap_err().contains("said nothing"));
    }
}
