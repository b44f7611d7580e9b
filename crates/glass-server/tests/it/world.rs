//! A server of the test's own: data directory, port, agents; gone with all its sandboxes when the test ends.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use glass_image::{ImageStore, Silent};
use glass_runtime::sim::SimRuntime;
use glass_server::{BuildError, Config, RuntimeKind, ServeArgs, Server};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::agent;
use crate::client::Client;
use crate::faulty::{Faults, Faulty};
use crate::memory::Percent;

/// No test takes longer on a slow machine.
const LONG: Duration = Duration::from_secs(240);

/// A server and all it keeps.
pub(crate) struct World {
    dir: tempfile::TempDir,
    data: PathBuf,
    memory: Arc<Percent>,
    running: Option<Running>,
    faults: Arc<Faults>,
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    /// All tasks of the server, and of nobody else, so that they can be ended at once.
    tasks: Runtime,
}

impl World {
    /// Runs a test against a server that is ready, and leaves nothing of it, whatever the test does.
    pub(crate) async fn run(test: impl AsyncFnOnce(&mut Self)) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::run_in(dir, data, test).await;
    }

    /// The same over a data directory of the test's choice, below or beside `dir`.
    pub(crate) async fn run_in(
        dir: tempfile::TempDir,
        data: PathBuf,
        test: impl AsyncFnOnce(&mut Self),
    ) {
        agent::install(&dir.path().join("agents"));
        import_base(dir.path(), &data).await;
        let mut world = Self {
            dir,
            data,
            memory: Arc::default(),
            running: None,
            faults: Arc::default(),
        };
        let outcome = AssertUnwindSafe(async {
            world.start().await;
            tokio::time::timeout(LONG, test(&mut world))
                .await
                .expect("the test does not end");
        })
        .catch_unwind()
        .await;
        let stopped = AssertUnwindSafe(world.stop()).catch_unwind().await;
        let runtime = world.runtime();
        for status in runtime.list().await.unwrap() {
            runtime.destroy(&status.id).await.unwrap();
        }
        if let Err(panic) = outcome.and(stopped) {
            std::panic::resume_unwind(panic);
        }
    }

    /// Starts a server over the data directory and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        assert!(self.running.is_none(), "one server per data directory");
        let tasks = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (config, faults) = (self.config(), Arc::clone(&self.faults));
        let state_dir = self.data.join("runtime");
        let server = tasks.spawn(build(config, state_dir, faults)).await.unwrap();
        let address = server.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let served = tasks.spawn(server.run(async move {
            drop(stopped.await);
        }));
        self.running = Some(Running {
            address,
            stop,
            served,
            tasks,
        });
        let client = self.client();
        eventually("the server is ready", async || {
            client.get("/readyz").await.status == 200
        })
        .await;
    }

    /// Stops the server as a signal does. Its sandboxes go on.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(running.stop);
            let served = running.served.await;
            end(running.tasks).await;
            served.unwrap();
        }
    }

    /// Ends the server between two of its steps, as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        end(self.running.take().unwrap().tasks).await;
    }

    /// What goes wrong in its runtime.
    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    /// Its database.
    pub(crate) async fn store(&self) -> glass_store::Store {
        let file = self.data.join("glasshouse.db");
        glass_store::Store::open(&file).await.unwrap()
    }

    /// What its servers are made from.
    pub(crate) fn config(&self) -> Config {
        let args = ServeArgs {
            data: self.data.clone(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            runtime: RuntimeKind::Sim,
            preview_domain: "preview.localhost".to_owned(),
            agents_dir: Some(self.dir.path().join("agents")),
            program: None,
        };
        let memory = Arc::<Percent>::clone(&self.memory);
        Config::load(args, |_| None).unwrap().with_memory(memory)
    }

    /// What its servers take for the host's memory.
    pub(crate) fn memory(&self) -> &Percent {
        &self.memory
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The workspace of a sandbox, as it lies on disk.
    pub(crate) fn workspace(&self, id: &str) -> PathBuf {
        self.data
            .join(format!("runtime/sandboxes/{id}/disk/home/workspace"))
    }

    pub(crate) fn token(&self) -> String {
        let text = std::fs::read_to_string(self.data.join("token")).unwrap();
        text.trim().to_owned()
    }

    /// A client with the server's token.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address(), Some(self.token()))
    }

    /// Where the sandboxes really are.
    pub(crate) fn runtime(&self) -> Arc<dyn glass_runtime::Runtime> {
        Arc::new(SimRuntime::new(self.data.join("runtime")).unwrap())
    }
}

/// Builds a server over a data directory that another one has just left.
///
/// Tests run in threads of one process: a program that another test starts has the files of all of them, with the lock
/// of this directory, from its fork to its exec.
async fn build(config: Config, state_dir: PathBuf, faults: Arc<Faults>) -> Server {
    let building = async {
        loop {
            let runtime = Faulty::new(state_dir.clone(), Arc::clone(&faults));
            match config.clone().build_on(Arc::new(runtime)).await {
                Err(BuildError::Locked(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                built => return built.unwrap(),
            }
        }
    };
    within(30, "the lock of the data directory", building).await
}

/// Ends tasks wherever they are.
async fn end(tasks: Runtime) {
    let end = move || tasks.shutdown_timeout(Duration::from_secs(30));
    tokio::task::spawn_blocking(end).await.unwrap();
}

/// Waits for what nothing tells of.
pub(crate) async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let looking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(60, what, looking).await;
}

/// The outcome of something that must not take longer.
pub(crate) async fn within<T>(seconds: u64, what: &str, outcome: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(seconds), outcome).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {seconds} s"))
}

/// An image named `base`, which the runtime does not look into.
async fn import_base(dir: &Path, data: &Path) {
    let root = dir.join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/hostname"), "sandbox\n").unwrap();
    let archive = dir.join("base.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    builder.append_dir_all(".", &root).unwrap();
    builder.finish().unwrap();
    let store = ImageStore::open(data.join("images")).unwrap();
    store
        .import(&archive, "base", Arc::new(Silent))
        .await
        .unwrap();
}
