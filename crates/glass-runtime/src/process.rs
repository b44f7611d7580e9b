//! The init process of a running sandbox, held by a pidfd: whatever happens to process ids, it means this one.
#![expect(
    unsafe_code,
    reason = "registering a descriptor with tokio is an unsafe call"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use glass_launch::InitRecord;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A sandbox's init.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Init {
    /// The process that the record in the sandbox's directory names, if it still exists.
    pub(crate) fn find(dir: &Path) -> io::Result<Option<Self>> {
        InitRecord::read(dir).map_or(Ok(None), |record| Self::open(&record))
    }

    pub(crate) fn open(record: &InitRecord) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(record.pid) else {
            return Ok(None);
        };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // Checked after the descriptor was opened: had the id been given to another process before, its start differs.
        if !record.is_alive() {
            return Ok(None);
        }
        Ok(Some(Self {
            pid: record.pid,
            // SAFETY: an `OwnedFd` gives the same open descriptor as long as it lives, and `AsyncFd` owns it.
            pidfd: unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE)? },
        }))
    }

    pub(crate) fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A pidfd becomes readable when its process ends.
        matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
    }

    /// Waits for the end of the process. The kernel ends all others of the sandbox before it.
    pub(crate) async fn exited(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(drop)
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the process ended within the time.
    pub(crate) async fn ends_within(&self, time: Duration) -> io::Result<bool> {
        match tokio::time::timeout(time, self.exited()).await {
            Ok(ended) => ended.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}
