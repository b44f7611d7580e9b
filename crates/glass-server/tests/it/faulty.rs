//! A runtime that does what a test wants: refuses, waits, and counts.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use glass_runtime::sim::SimRuntime;
use glass_runtime::{
    BoxStream, DiskFiles, Runtime, RuntimeError, SandboxSpec, SandboxStatus, Snapshots, Stats,
};
use glass_types::{Isolation, SandboxId};
use tokio::sync::watch;

/// What goes wrong, by the name of the operation.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    failing: Mutex<HashSet<&'static str>>,
    held: watch::Sender<HashSet<&'static str>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    specs: Mutex<Vec<SandboxSpec>>,
}

impl Faults {
    pub(crate) fn fail(&self, operation: &'static str) {
        self.failing.lock().unwrap().insert(operation);
    }

    pub(crate) fn mend(&self, operation: &'static str) {
        self.failing.lock().unwrap().remove(operation);
    }

    /// Makes an operation wait at its beginning.
    pub(crate) fn hold(&self, operation: &'static str) {
        self.held.send_modify(|held| {
            held.insert(operation);
        });
    }

    pub(crate) fn release(&self, operation: &'static str) {
        self.held.send_modify(|held| {
            held.remove(operation);
        });
    }

    /// How often an operation was begun.
    pub(crate) fn calls(&self, operation: &'static str) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.get(operation).copied().unwrap_or(0)
    }

    /// What a sandbox was started with, each time.
    pub(crate) fn started_with(&self, id: &str) -> Vec<SandboxSpec> {
        let specs = self.specs.lock().unwrap();
        let of_it = specs.iter().filter(|spec| spec.id.as_str() == id);
        of_it.cloned().collect()
    }

    async fn pass(&self, id: &SandboxId, operation: &'static str) -> Result<(), RuntimeError> {
        *self.calls.lock().unwrap().entry(operation).or_default() += 1;
        let mut held = self.held.subscribe();
        drop(held.wait_for(|held| !held.contains(operation)).await);
        if self.failing.lock().unwrap().contains(operation) {
            return Err(RuntimeError::Step {
                id: id.clone(),
                step: "obey the test",
                reason: format!("{operation} is to fail"),
            });
        }
        Ok(())
    }
}

/// The sim runtime with faults.
#[derive(Debug)]
pub(crate) struct Faulty {
    sim: SimRuntime,
    faults: Arc<Faults>,
}

impl Faulty {
    pub(crate) fn new(state_dir: PathBuf, faults: Arc<Faults>) -> Self {
        Self {
            sim: SimRuntime::new(state_dir).unwrap(),
            faults,
        }
    }
}

#[async_trait]
impl Runtime for Faulty {
    fn name(&self) -> &'static str {
        self.sim.name()
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        self.faults.pass(&spec.id, "create").await?;
        self.sim.create(spec).await
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        self.faults.specs.lock().unwrap().push(spec.clone());
        self.faults.pass(&spec.id, "start").await?;
        self.sim.start(spec).await
    }

    async fn freeze(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.faults.pass(id, "freeze").await?;
        self.sim.freeze(id).await
    }

    async fn thaw(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.faults.pass(id, "thaw").await?;
        self.sim.thaw(id).await
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), RuntimeError> {
        self.faults.pass(id, "stop").await?;
        self.sim.stop(id, grace).await
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.faults.pass(id, "destroy").await?;
        self.sim.destroy(id).await
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        Runtime::list(&self.sim).await
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError> {
        self.sim.stats(id).await
    }

    async fn exited(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.sim.exited(id).await
    }

    async fn last_words(&self, id: &SandboxId) -> Option<String> {
        self.sim.last_words(id).await
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError> {
        self.sim.connect(id, port).await
    }

    async fn guest(&self, id: &SandboxId) -> Result<BoxStream, RuntimeError> {
        self.sim.guest(id).await
    }

    async fn gateway(&self, id: &SandboxId) -> Result<tokio::net::UnixListener, RuntimeError> {
        self.sim.gateway(id).await
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.sim.snapshots()
    }

    fn supports(&self, isolation: Isolation) -> Result<(), RuntimeError> {
        self.sim.supports(isolation)
    }

    async fn reclaim(&self, id: &SandboxId) -> Result<u64, RuntimeError> {
        self.sim.reclaim(id).await
    }

    fn has_disks(&self) -> bool {
        true
    }

    async fn disk(&self, id: &SandboxId) -> Result<Option<DiskFiles>, RuntimeError> {
        self.sim.disk(id).await
    }
}
