//! Agent processes: their standard streams are a numbered log on disk.
//!
//! A line is in the log before anybody sees it, and a line for the process is in the log before the process does. So
//! whoever reads the log from a number on sees exactly what everybody else sees, after any restart of either side.
//! The directory `state_dir/agents/<key>` is made when a key is started first, and for good.

mod log;
mod runner;
pub(crate) mod service;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use glass_guest_protocol::agent::{AgentInfo, AgentSource, AgentStart};
use glass_guest_protocol::connect::RpcError;

use crate::fault;
use crate::guest::Core;
use log::Log;
use runner::Runner;

/// All that were ever started here.
#[derive(Debug)]
pub(crate) struct Agents {
    core: Arc<Core>,
    table: Mutex<BTreeMap<String, Arc<Agent>>>,
    /// Starting is one at a time, so that a key is started once.
    starting: tokio::sync::Mutex<()>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) log: Log,
    /// While it runs.
    runner: Mutex<Option<Runner>>,
}

impl Agent {
    fn with_runner<T>(&self, work: impl FnOnce(&mut Option<Runner>) -> T) -> T {
        work(&mut self.runner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Agents {
    /// Opens the logs that are there. No process of a guest before us is alive, so a log without an end gets one.
    pub(crate) fn open(core: Arc<Core>) -> io::Result<Self> {
        let directory = core.config.state_dir.join("agents");
        std::fs::create_dir_all(&directory)?;
        let mut table = BTreeMap::new();
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let Ok(key) = entry.file_name().into_string() else {
                continue;
            };
            let log = match Log::open(&entry.path().join("log")) {
                Ok(log) => log,
                // Only a log that was never made needs room to be opened.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => continue,
                Err(error) => return Err(error),
            };
            if !log.has_ended() {
                // On a full disk it has ended without a line; the guest has to run, so that the user can make room.
                let _ = log.append(AgentSource::Exit, None, "sandbox was stopped");
            }
            let agent = Agent {
                log,
                runner: Mutex::new(None),
            };
            table.insert(key, Arc::new(agent));
        }
        Ok(Self {
            core,
            table: Mutex::new(table),
            starting: tokio::sync::Mutex::default(),
        })
    }

    fn with_table<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Arc<Agent>>) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn find(&self, key: &str) -> Result<Arc<Agent>, RpcError> {
        self.with_table(|table| table.get(key).cloned())
            .ok_or_else(|| {
                let shown: String = key.chars().take(64).collect();
                fault::not_found(format!("no agent process {shown:?} was started here"))
            })
    }

    pub(crate) fn list(&self) -> Vec<AgentInfo> {
        self.with_table(|table| {
            table
                .iter()
                .map(|(key, agent)| AgentInfo {
                    key: key.clone(),
                    pid: agent.with_runner(|runner| runner.as_ref().map(Runner::pid)),
                    lines: agent.log.count(),
                })
                .collect()
        })
    }

    /// Starts a process unless one with this key was ever started. Says whether this call did.
    pub(crate) async fn start(&self, request: AgentStart) -> Result<bool, RpcError> {
        check_key(&request.key)?;
        let _turn = self.starting.lock().await;
        if self.find(&request.key).is_ok() {
            return Ok(false);
        }
        let directory = self.directory(&request.key);
        let io = |error: io::Error| fault::io("the agent's log", &error);
        std::fs::create_dir(&directory).map_err(io)?;
        let started = match Log::open(&directory.join("log")) {
            Ok(log) => {
                let agent = Arc::new(Agent {
                    log,
                    runner: Mutex::new(None),
                });
                runner::start(&self.core, &agent, &request)
                    .await
                    .map(|()| agent)
            }
            Err(error) => Err(io(error)),
        };
        match started {
            Ok(agent) => {
                self.with_table(|table| table.insert(request.key, agent));
                Ok(true)
            }
            Err(error) => {
                // Nothing ran, so the key may be tried again.
                std::fs::remove_dir_all(&directory).map_err(io)?;
                Err(error)
            }
        }
    }

    fn directory(&self, key: &str) -> PathBuf {
        self.core.config.state_dir.join("agents").join(key)
    }

    /// Notes the end of the ones that still run, and makes all logs durable.
    pub(crate) fn close(&self) {
        self.with_table(|table| {
            for agent in table.values() {
                if !agent.log.has_ended() {
                    // A full disk: the next guest notes it.
                    let _ = agent
                        .log
                        .append(AgentSource::Exit, None, "sandbox was stopped");
                }
                let _ = agent.log.sync();
            }
        });
    }
}

fn check_key(key: &str) -> Result<(), RpcError> {
    let ok = (1..=64).contains(&key.len())
        && !key.starts_with('.')
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if ok {
        Ok(())
    } else {
        let shown: String = key.chars().take(64).collect();
        Err(fault::invalid(format!(
            "key {shown:?} is not 1 to 64 of A-Z a-z 0-9 . _ - without a dot first"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn keys_are_plain_file_names() {
        for good in ["a", "claude-code.1_B"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\nb", "é", &"x".repeat(65)] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }
}
