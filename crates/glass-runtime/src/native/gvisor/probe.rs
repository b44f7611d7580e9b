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
    use super::*;

    /// Programs that are there already: one that a test writes may be "busy" while another thread forks.
    #[test]
    fn what_it_says_when_it_fails_is_the_reason() {
        let outcome = |program: &str| works(Path::new(program)).map_err(|e| e.to_string());
        assert_eq!(outcome("/bin/true"), Ok(()));
        let reason = outcome("/bin/ls").unwrap_err();
        assert!(reason.contains("--root"), "{reason}");
        assert!(!reason.contains("--help"), "only the first line: {reason}");
        let reason = outcome("/bin/false").unwrap_err();
        assert!(reason.contains("it said nothing"), "{reason}");
    }
}
