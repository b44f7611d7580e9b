//! The server of a data directory, seen from outside: whether it runs, where, and how to end it.
//!
//! A running server holds a lock on the file `lock`, so whether one runs is never a guess: a process id alone may long
//! belong to somebody else. `server.pid` and `server.url` say who and where while the lock is held.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Naming};

/// How long a server has to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A data directory with or without a server.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    data: PathBuf,
}

impl Daemon {
    pub(crate) fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.data.join("server.log")
    }

    pub(crate) fn url_file(data: &Path) -> PathBuf {
        data.join("server.url")
    }

    fn pid_file(&self) -> PathBuf {
        self.data.join("server.pid")
    }

    /// Whether a server holds the lock.
    pub(crate) fn runs(&self) -> Result<bool, Failure> {
        let Some(lock) = self.lock()? else {
            return Ok(false);
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(self.unusable(&error)),
        }
    }

    fn lock(&self) -> Result<Option<File>, Failure> {
        match File::open(self.data.join("lock")) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(&error)),
        }
    }

    fn unusable(&self, error: &io::Error) -> Failure {
        Failure::new(format!(
            "cannot use the data directory {}: {error}",
            self.data.display()
        ))
        .with_hint("run this as the user who ran `glasshouse up`, or give another with --data")
    }

    /// The process id that the server wrote down.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pid_file()).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Where the server answers, as it wrote down.
    pub(crate) fn url(&self) -> Option<String> {
        let text = fs::read_to_string(Self::url_file(&self.data)).ok()?;
        let url = text.trim();
        url.starts_with("http").then(|| url.to_owned())
    }

    /// Written by the server itself once it holds the lock and listens.
    pub(crate) fn announce(&self, address: SocketAddr) -> Result<String, Failure> {
        let url = format!("http://{}", reachable(address));
        let pid = std::process::id().to_string();
        for (path, text) in [(self.pid_file(), &pid), (Self::url_file(&self.data), &url)] {
            fs::write(&path, text).naming(|| format!("cannot write {}", path.display()))?;
        }
        Ok(url)
    }

    /// Asks the server to end and waits until it has. Whether there was one.
    pub(crate) async fn stop(&self) -> Result<bool, Failure> {
        if !self.runs()? {
            return Ok(false);
        }
        let pid = self.pid().ok_or_else(|| {
            Failure::new(format!(
                "a server uses {} and has not said which process it is",
                self.data.display()
            ))
            .with_hint("end it where it was started")
        })?;
        kill_process(pid, Signal::TERM)
            .naming(|| format!("cannot end process {}", pid.as_raw_nonzero()))?;
        let Some(lock) = self.lock()? else {
            return Ok(true);
        };
        // Waiting for the lock is waiting for the process: the kernel lets it go with it.
        let ended = tokio::task::spawn_blocking(move || lock.lock_shared());
        match tokio::time::timeout(PATIENCE, ended).await {
            Ok(Ok(Ok(()))) => Ok(true),
            Ok(Ok(Err(error))) => Err(self.unusable(&error)),
            Ok(Err(error)) => Err(Failure::new(format!("cannot wait for the server: {error}"))),
            Err(_) => Err(Failure::new(format!(
                "the server (process {}) does not end",
                pid.as_raw_nonzero()
            ))
            .with_hint(format!(
                "look into {}; `kill -9 {}` ends it, and sandboxes go on all the same",
                self.log().display(),
                pid.as_raw_nonzero()
            ))),
        }
    }
}

/// An address to connect to, for one to listen on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_lock_runs() {
        let data = tempfile::tempdir().unwrap();
        let daemon = Daemon::of(data.path());
        assert!(!daemon.runs().unwrap());
        let lock = File::create(data.path().join("lock")).unwrap();
        assert!(!daemon.runs().unwrap());
        lock.lock().unwrap();
        assert!(daemon.runs().unwrap());
        drop(lock);
        assert!(!daemon.runs().unwrap());
    }

    #[tokio::test]
    async fn stopping_nothing_is_no_failure() {
        let data = tempfile::tempdir().unwrap();
        assert!(!Daemon::of(data.path()).stop().await.unwrap());
    }

    #[test]
    fn an_address_for_all_is_reached_on_loopback() {
        for (listen, reach) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), reach);
        }
    }
}
