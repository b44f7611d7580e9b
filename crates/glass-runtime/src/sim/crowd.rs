//! All processes of a sandbox without namespaces, found by a mark in their environment.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use glass_types::SandboxId;
use rustix::process::{Pid, Signal};

use crate::Stats;

/// The processes of one sandbox.
#[derive(Debug)]
pub(super) struct Crowd {
    mark: Vec<u8>,
}

impl Crowd {
    /// The environment variable that marks them.
    pub(super) const VARIABLE: &str = "GLASSHOUSE_SANDBOX";

    pub(super) fn new(id: &SandboxId) -> Self {
        Self {
            mark: format!("{}={id}", Self::VARIABLE).into_bytes(),
        }
    }

    fn pids(&self) -> BTreeSet<i32> {
        let Ok(entries) = std::fs::read_dir("/proc") else {
            return BTreeSet::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ"));
                environment.is_ok_and(|e| e.split(|byte| *byte == 0).any(|one| one == self.mark))
            })
            .collect()
    }

    /// Sends a signal to all, also to those that are made meanwhile.
    pub(super) fn signal(&self, signal: Signal) {
        let mut told = BTreeSet::new();
        loop {
            let fresh: Vec<i32> = self.pids().difference(&told).copied().collect();
            if fresh.is_empty() {
                return;
            }
            for pid in fresh {
                told.insert(pid);
                if let Some(pid) = Pid::from_raw(pid) {
                    // It may have ended since.
                    rustix::process::kill_process(pid, signal).ok();
                }
            }
        }
    }

    /// Stops all and waits until they stand still: the signal takes effect when the process is next scheduled.
    pub(super) async fn freeze(&self) -> io::Result<()> {
        self.until(Signal::STOP, is_stopped, "do not stop").await
    }

    /// Kills all and waits until they are gone.
    pub(super) async fn kill(&self) -> io::Result<()> {
        self.until(Signal::KILL, |_| false, "do not end").await
    }

    /// Sends a signal again and again until nobody is left who has not done what it asks for.
    async fn until(
        &self,
        signal: Signal,
        has_done: impl Fn(i32) -> bool,
        complaint: &str,
    ) -> io::Result<()> {
        let mut pause = Duration::from_micros(200);
        for _ in 0..60 {
            if self.pids().into_iter().all(&has_done) {
                return Ok(());
            }
            self.signal(signal);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("some processes {complaint}"),
        ))
    }

    /// What they use together.
    pub(super) fn stats(&self) -> Stats {
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let tick = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let mut stats = Stats::default();
        for pid in self.pids() {
            let Some(fields) = fields(pid) else { continue };
            let number = |field: usize| fields.get(field).and_then(|f| f.parse().ok()).unwrap_or(0);
            // As proc(5) counts them, less the two before the state: user time, system time, threads, resident pages.
            stats.cpu_usec += (number(11) + number(12)) * tick;
            stats.pids += number(17);
            stats.memory_bytes += number(21) * page;
        }
        stats
    }
}

/// Whether a process was stopped by a signal.
pub(super) fn is_stopped(pid: i32) -> bool {
    fields(pid).is_some_and(|fields| fields.first().is_some_and(|state| state == "T"))
}

/// The fields of `/proc/<pid>/stat` from the state on.
fn fields(pid: i32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
