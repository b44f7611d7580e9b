//! From a configuration to a server that serves. Nothing else makes long-lived objects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use glass_agent::AgentRegistry;
use glass_edge::{Edge, EdgeConfig, EdgeCounters};
use glass_gateway::Gateway;
use glass_guest_protocol::GATEWAY_PORT;
use glass_image::ImageStore;
use glass_runtime::Runtime;
use glass_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{
    Archives, EgressLog, ModelWatch, PreviewKeys, Previews, Refusals, Sandboxes, Settings, Tasks,
};
use crate::clock;
use crate::config::Config;
use crate::error::ApiError;
use crate::http::{self, ApiToken, State};
use crate::metrics::Metrics;
use crate::origins::{SandboxOrigins, SandboxTokens};
use crate::runtime::{self, RuntimeKind};

/// How long requests in flight have to end when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How often rows and world are compared.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);
/// How often the archive is rid of what nobody wants.
const TIDY_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Why the server could not be built. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}; give another with --data")]
    Data {
        /// Which directory.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Another server works on the same data directory.
    #[error(
        "another glasshouse serves the data directory {0}; stop it with `glasshouse down`, or give another with --data"
    )]
    Locked(PathBuf),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; stop what listens there, or give another address with --listen"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What happened.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] glass_store::StoreError),
    /// The image store cannot be used.
    #[error(transparent)]
    Images(#[from] glass_image::ImageError),
    /// The host cannot run sandboxes.
    #[error(transparent)]
    Runtime(#[from] glass_runtime::RuntimeError),
    /// An agent's manifest is wrong.
    #[error(transparent)]
    Agents(#[from] glass_agent::ManifestError),
    /// The archive's settings are wrong.
    #[error(transparent)]
    Archive(#[from] glass_archive::LocationError),
    /// An upstream is wrong.
    #[error(transparent)]
    Gateway(#[from] glass_gateway::GatewayError),
    /// The default agent is unknown.
    #[error("default_agent: {0}")]
    DefaultAgent(glass_agent::UnknownAgent),
}

/// A server whose sockets are bound and that serves nothing yet.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    edge: Edge<axum::Router>,
    sandboxes: Arc<Sandboxes>,
    tasks: Arc<Tasks>,
    archives: Arc<Archives>,
    store: Store,
    ready: watch::Sender<bool>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    /// Held as long as the server lives: one server per data directory.
    _lock: std::fs::File,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Makes everything and binds the listener.
    ///
    /// # Errors
    /// [`BuildError`] names what could not be had and the remedy.
    pub async fn build(self) -> Result<Server, BuildError> {
        let lock = self.lock_data()?;
        let state_dir = self.data.join("runtime");
        let (kind, runtime) =
            runtime::open(self.runtime, state_dir, self.docker_host.as_deref()).await?;
        self.build_over(kind, runtime, lock).await
    }

    /// The same over a runtime of the caller's making.
    ///
    /// # Errors
    /// [`BuildError`] names what could not be had and the remedy.
    pub async fn build_on(self, runtime: Arc<dyn Runtime>) -> Result<Server, BuildError> {
        let lock = self.lock_data()?;
        let kind = self.runtime;
        self.build_over(kind, runtime, lock).await
    }

    async fn build_over(
        self,
        kind: RuntimeKind,
        runtime: Arc<dyn Runtime>,
        lock: std::fs::File,
    ) -> Result<Server, BuildError> {
        let token = ApiToken::load_or_make(&self.data).map_err(|source| self.data_error(source))?;
        let keys =
            PreviewKeys::load_or_make(&self.data).map_err(|source| self.data_error(source))?;
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in self.listen.iter().copied() {
            let failed = |source| BuildError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let public_port = addresses.first().map_or(0, SocketAddr::port);
        let metrics = Metrics::new();
        let mut store = Store::open(&self.data.join("glasshouse.db")).await?;
        let counted = metrics.clone();
        store.observe(move |took, is_ok| counted.stored(took, is_ok));
        let images = ImageStore::open(self.data.join("images"))?;
        let gateway_port = match kind {
            RuntimeKind::Auto | RuntimeKind::Native | RuntimeKind::Docker => GATEWAY_PORT,
            // All sandboxes have the host's loopback, so each takes a port that is free there.
            RuntimeKind::Sim => 0,
        };
        let archives = Archives::new(self.archive.clone(), &self.data, self.program.clone())?;
        let archives = Arc::new(archives);
        let agents = AgentRegistry::load(self.agents_dir.as_deref())?;
        agents
            .get(&self.default_agent)
            .map_err(BuildError::DefaultAgent)?;
        let refusals = Refusals::default();
        let models = ModelWatch {
            metrics: metrics.clone(),
            refusals: refusals.clone(),
        };
        let (egress_log, egress_writer) = EgressLog::new(store.clone());
        let gateway = Gateway::new(
            self.gateway,
            Arc::new(SandboxTokens(store.clone())),
            Arc::new(models),
            Arc::new(egress_log),
        )?;
        let providers = gateway.providers();
        let (tracker, shutdown) = (TaskTracker::new(), CancellationToken::new());
        tracker.spawn(egress_writer.run(shutdown.clone()));
        let previews = Previews {
            domain: self.preview_domain.clone(),
            port: public_port,
            keys: Arc::new(keys),
        };
        let sandboxes = Arc::new(Sandboxes::new(
            store.clone(),
            images,
            runtime,
            gateway,
            self.egress,
            previews,
            gateway_port,
            self.memory,
            metrics.clone(),
            Settings::load(store.clone()).await?,
            Arc::clone(&archives),
            tracker.clone(),
            shutdown.clone(),
        ));
        sandboxes.load().await?;
        let tasks = Arc::new(Tasks::new(
            store.clone(),
            Arc::clone(&sandboxes),
            agents,
            refusals,
            &providers,
            self.default_agent,
            tracker.clone(),
            shutdown.clone(),
        ));
        let (ready, is_ready) = watch::channel(false);
        let edge_counters = EdgeCounters::default();
        let state = State {
            sandboxes: Arc::clone(&sandboxes),
            tasks: Arc::clone(&tasks),
            store: store.clone(),
            token: Arc::new(token),
            metrics,
            edge: edge_counters.clone(),
            ready: is_ready,
        };
        let edge_config = EdgeConfig::new(&self.preview_domain, public_port);
        let edge = Edge::new(
            edge_config,
            Arc::new(SandboxOrigins(Arc::clone(&sandboxes))),
            edge_counters,
            http::router(state),
        );
        Ok(Server {
            listeners,
            addresses,
            edge,
            sandboxes,
            tasks,
            archives,
            store,
            ready,
            tracker,
            shutdown,
            _lock: lock,
        })
    }

    fn lock_data(&self) -> Result<std::fs::File, BuildError> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o711)
            .create(&self.data)
            .map_err(|source| self.data_error(source))?;
        let path = self.data.join("lock");
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| self.data_error(source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => Err(BuildError::Locked(self.data.clone())),
            Err(std::fs::TryLockError::Error(source)) => Err(self.data_error(source)),
        }
    }

    fn data_error(&self, source: std::io::Error) -> BuildError {
        BuildError::Data {
            path: self.data.clone(),
            source,
        }
    }
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until `shutdown` resolves, then lets requests in flight end. Sandboxes go on without it.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let Self {
            listeners,
            addresses: _,
            edge,
            sandboxes,
            tasks,
            archives,
            store,
            ready,
            tracker,
            shutdown: token,
            _lock,
        } = self;
        let serve = futures::future::join_all(
            listeners
                .into_iter()
                .map(|listener| edge.serve(listener, token.clone().cancelled_owned())),
        );
        let reconcile = async {
            loop {
                if let Err(ApiError(problem)) = sandboxes.reconcile().await {
                    tracing::error!(error = %problem.detail, "sandboxes could not be reconciled");
                }
                if let Err(ApiError(problem)) = tasks.resume().await {
                    tracing::error!(error = %problem.detail, "tasks could not be resumed");
                }
                ready.send_replace(true);
                if let Err(ApiError(problem)) = sandboxes.reconcile_snapshots().await {
                    tracing::error!(error = %problem.detail, "snapshots could not be reconciled");
                }
                tokio::time::sleep(RECONCILE_EVERY).await;
            }
        };
        tracker.spawn(Arc::clone(&sandboxes).watch_memory());
        let keep_idle_policies = async {
            // Not before open tasks have begun to use their sandboxes again.
            let is_ready = ready.subscribe().wait_for(|ready| *ready).await.is_ok();
            if is_ready {
                sandboxes.keep_idle_policies().await;
            }
        };
        let tidy = async {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                if let Err(ApiError(problem)) = archives.tidy(&store).await {
                    tracing::error!(error = %problem.detail, "the archive could not be tidied");
                }
            }
        };
        let stop = async {
            shutdown.await;
            token.cancel();
        };
        tokio::pin!(serve);
        tokio::select! {
            _ = &mut serve => {}
            () = reconcile => {}
            () = keep_idle_policies => {}
            () = tidy => {}
            () = stop => {
                serve.await;
            }
        }
        token.cancel();
        sandboxes.note_uses(clock::steady(), 1).await;
        tracker.close();
        if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
            tracing::warn!(
                tasks = tracker.len(),
                "stopping with work in flight; it goes on at the next start"
            );
        }
    }
}
