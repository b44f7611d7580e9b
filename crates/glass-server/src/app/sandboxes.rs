//! Sandboxes: from a row to a running guest and back.
//!
//! A lifecycle change holds the sandbox's own lock, writes the row first and then changes the world. It runs in a task
//! of its own, so a caller who hangs up does not leave it half done.

mod archive;
mod bring_up;
mod crashes;
mod death;
mod driver;
mod edit;
mod egress;
mod idle;
mod origin;
mod proxy;
mod reconcile;
mod rest;
mod room;
mod snapshots;
mod stats;
mod trouble;
mod uses;
mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, CreateParams, LimitsView, Problem, SandboxView};
use glass_gateway::Gateway;
use glass_guest_protocol::WEB_PORT;
use glass_image::{Image, ImageStore};
use glass_runtime::{Runtime, RuntimeError, SandboxSpec};
use glass_store::{NewSandboxEvent, SandboxRow, Shift, Store};
use glass_types::{EgressPolicy, Isolation, SandboxId, SandboxState, Transition};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use driver::{Attached, Down};
use driver::{Driver, Drivers, Turn};
pub(crate) use uses::{Awake, Use, UseKind};
pub(crate) use wake::WakeStep;

use rest::event;

use super::memory::{Admission, HostMemory};
use super::{Archives, Previews, Settings, validate};
use crate::clock;
use crate::error::ApiError;
use crate::metrics::{Metrics, Operation};

/// How long processes have to end by themselves.
const GRACE: Duration = Duration::from_secs(5);

/// All sandboxes of this server.
pub(crate) struct Sandboxes {
    store: Store,
    images: ImageStore,
    runtime: Arc<dyn Runtime>,
    gateway: Gateway,
    /// Of sandboxes that have no policy of their own.
    egress: EgressPolicy,
    previews: Previews,
    /// TCP port on the sandbox's loopback at which its guest offers the gateway; 0 lets the guest choose.
    gateway_port: u16,
    drivers: Drivers,
    admission: Admission,
    /// Held while room is made.
    relief: tokio::sync::Mutex<()>,
    metrics: Metrics,
    settings: Settings,
    archives: Arc<Archives>,
    /// Held while a row and its driver are edited, so that both see edits in the same order.
    editing: tokio::sync::Mutex<()>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl Sandboxes {
    pub(crate) fn new(
        store: Store,
        images: ImageStore,
        runtime: Arc<dyn Runtime>,
        gateway: Gateway,
        egress: EgressPolicy,
        previews: Previews,
        gateway_port: u16,
        memory: Arc<dyn HostMemory>,
        metrics: Metrics,
        settings: Settings,
        archives: Arc<Archives>,
        tracker: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            store,
            images,
            runtime,
            gateway,
            egress,
            previews,
            gateway_port,
            drivers: Drivers::default(),
            admission: Admission::new(memory),
            relief: tokio::sync::Mutex::default(),
            metrics,
            settings,
            archives,
            editing: tokio::sync::Mutex::default(),
            tracker,
            shutdown,
        }
    }

    /// Makes a driver for each row there is. Before anything else is asked.
    pub(crate) async fn load(&self) -> Result<(), glass_store::StoreError> {
        for row in self.store.sandboxes().await? {
            self.drivers.add(self.driver_of(&row));
        }
        Ok(())
    }

    fn driver_of(&self, row: &SandboxRow) -> Driver {
        Driver::new(
            row,
            self.settings.idle(),
            self.egress_control(row),
            Arc::clone(&self.runtime),
        )
    }

    /// The driver of a sandbox.
    fn driver(&self, id: &SandboxId) -> Result<Arc<Driver>, ApiError> {
        self.drivers.get(id).ok_or_else(|| not_found(id))
    }

    /// Waits for one's turn to change a sandbox.
    async fn turn(&self, id: &SandboxId) -> Result<(Arc<Driver>, Turn), ApiError> {
        let driver = self.driver(id)?;
        let turn = driver.turn().await;
        Ok((driver, turn))
    }

    /// Makes a sandbox and answers when its guest does. When that fails nothing is left of it.
    pub(crate) async fn create(
        self: &Arc<Self>,
        params: CreateParams,
    ) -> Result<SandboxRow, ApiError> {
        let origin = self.origin(params).await?;
        let params = origin.params;
        let wishes = validate::sandbox(&params)?;
        self.offers(wishes.isolation)?;
        let row = SandboxRow {
            env: params.env,
            labels: params.labels,
            limits: wishes.limits,
            ports: params.ports,
            template: params.template,
            from_snapshot: origin.snapshot,
            root: wishes.root,
            isolation: wishes.isolation,
            visibility: wishes.visibility,
            idle: params.idle,
            egress: wishes.egress,
            ..SandboxRow::fresh(
                origin.image,
                origin.image_digest,
                gateway_token(),
                clock::now(),
            )
        };
        self.detached(|this| async move {
            let driver = this.drivers.add(this.driver_of(&row));
            let _turn = driver.turn().await;
            let _room = match this.room(&row).await {
                Ok(room) => room,
                Err(error) => {
                    this.drivers.remove(&row.id);
                    return Err(error);
                }
            };
            if let Err(error) = this.store.insert_sandbox(&row).await {
                this.drivers.remove(&row.id);
                return Err(error.into());
            }
            let made = this.bring_up(&driver, &row, None, |_| {});
            if let Err(error) = this.metrics.timed(Operation::Create, made).await {
                this.discard(&driver).await;
                return Err(error);
            }
            this.get(&row.id).await
        })
        .await
    }

    /// A tier that the host cannot give is refused before there is a row.
    fn offers(&self, isolation: Isolation) -> Result<(), Problem> {
        let Err(error) = self.runtime.supports(isolation) else {
            return Ok(());
        };
        let problem = Problem::field("isolation", isolation, error.to_string());
        Err(match error {
            RuntimeError::Unsupported { remedy, .. } => problem.with_remedy(remedy),
            _ => problem,
        })
    }

    /// The row of a sandbox.
    pub(crate) async fn get(&self, id: &SandboxId) -> Result<SandboxRow, ApiError> {
        self.store.sandbox(id).await?.ok_or_else(|| not_found(id))
    }

    /// All rows, the newest first.
    pub(crate) async fn list(&self) -> Result<Vec<SandboxRow>, ApiError> {
        Ok(self.store.sandboxes().await?)
    }

    /// Brings up what has a row, in our turn. When that fails the row says why and no process is left.
    async fn restart(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        row: &SandboxRow,
        told: NewSandboxEvent,
        fetching: impl Fn(u8) + Send + Sync,
    ) -> Result<(), ApiError> {
        let (id, creating) = (&row.id, SandboxState::Creating);
        // As it is now: what died on the way may have moved on since the row was read.
        let from = driver.inner().state;
        self.shift(driver, move_of(driver, from, creating)).await?;
        let up = self.bring_up(driver, row, Some(told), fetching);
        let Err(error) = self.metrics.timed(Operation::Start, up).await else {
            return Ok(());
        };
        driver.detach(Down::Died);
        if let Err(error) = self.runtime.stop(id, Duration::ZERO).await {
            tracing::warn!(sandbox.id = %id, %error, "cannot clean up after a start that failed");
        }
        let reason = error.0.detail.as_str();
        let failed = move_of(driver, creating, SandboxState::Failed)
            .because(reason)
            .telling(event("failed", json!({ "reason": reason })));
        if let Err(ApiError(problem)) = self.shift(driver, failed).await {
            tracing::error!(sandbox.id = %id, error = %problem.detail, "cannot note that a sandbox has failed");
        }
        Err(error)
    }

    /// Writes that a sandbox is in another state now, in our turn.
    async fn shift(&self, driver: &Driver, shift: Shift) -> Result<(), ApiError> {
        if !self.store.shift_sandbox(&driver.id, &shift).await? {
            let detail = format!("sandbox {} is not {} any more", driver.id, shift.from);
            return Err(Problem::new(Code::StateConflict, detail).into());
        }
        let mut inner = driver.inner();
        inner.state = shift.to;
        inner.noted = shift.last_used_at.unwrap_or(inner.noted);
        Ok(())
    }

    /// Tells the owner of a sandbox what happened to it. That it cannot be written down stops nothing.
    async fn tell(&self, id: &SandboxId, kind: &'static str, data: serde_json::Value) {
        if let Err(error) = self
            .store
            .append_sandbox_event(id, &event(kind, data))
            .await
        {
            tracing::warn!(sandbox.id = %id, kind, %error, "cannot write an event of a sandbox");
        }
    }

    /// Removes a sandbox with all it has.
    pub(crate) async fn destroy(self: &Arc<Self>, id: &SandboxId) -> Result<(), ApiError> {
        let id = id.clone();
        self.detached(|this| async move {
            let (driver, _turn) = this.turn(&id).await?;
            let row = this.get(&id).await?;
            let next = row.state.after(Transition::Destroy)?;
            this.shift(&driver, Shift::new(row.state, next)).await?;
            this.remove(&driver).await
        })
        .await
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    pub(crate) fn images(&self) -> &ImageStore {
        &self.images
    }

    pub(crate) fn previews(&self) -> &Previews {
        &self.previews
    }

    /// How many sandboxes there are in each state.
    pub(crate) fn census(&self) -> Vec<(SandboxState, u64)> {
        let mut counts = SandboxState::ALL.map(|state| (state, 0));
        for driver in self.drivers.all() {
            let state = driver.inner().state;
            for (_, count) in counts.iter_mut().filter(|(counted, _)| *counted == state) {
                *count += 1;
            }
        }
        counts.to_vec()
    }

    /// A row as the API shows it.
    pub(crate) fn view(&self, row: SandboxRow) -> SandboxView {
        let (policy, last_used_at) = (self.settings.idle().with(row.idle), self.last_used(&row));
        SandboxView {
            url: self.previews.url(&row.id, WEB_PORT),
            id: row.id.to_string(),
            state: row.state.to_string(),
            reason: row.reason,
            image: row.image,
            env: row.env,
            labels: row.labels,
            limits: LimitsView {
                memory_bytes: row.limits.memory_bytes,
                cpu_millis: row.limits.cpu_millis,
                pids: row.limits.pids,
                disk_bytes: row.limits.disk_bytes,
                cpu_weight: row.limits.cpu_weight,
                open_files: row.limits.open_files,
                network_bytes_per_second: row.limits.network_bytes_per_second,
            },
            ports: row.ports,
            template: row.template,
            snapshot: row.from_snapshot.map(|id| id.to_string()),
            root: row.root.to_string(),
            isolation: row.isolation.to_string(),
            visibility: row.visibility.to_string(),
            policy,
            idle: row.idle,
            keepalive_until: row.keepalive_until,
            last_used_at,
            created_at: row.created_at,
        }
    }

    /// World first, row last: a row in state `destroying` is what brings the reconciler back to an unfinished removal.
    async fn remove(&self, driver: &Driver) -> Result<(), ApiError> {
        let id = &driver.id;
        driver.detach(Down::Removed);
        let destroyed = self.runtime.destroy(id);
        match self.metrics.timed(Operation::Destroy, destroyed).await {
            Ok(()) | Err(RuntimeError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.store.delete_sandbox(id).await?;
        self.drivers.remove(id);
        Ok(())
    }

    /// Removes what could not be made. A full disk may prevent that, too; then the reconciler does it.
    async fn discard(&self, driver: &Driver) {
        driver.inner().is_doomed = true;
        if let Err(ApiError(problem)) = self.remove(driver).await {
            tracing::error!(sandbox.id = %driver.id, error = %problem.detail, "a sandbox that could not be made is still there");
        }
    }

    /// Runs a change in a task of its own.
    async fn detached<T, F>(
        self: &Arc<Self>,
        change: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let done = self.tracker.spawn(change(Arc::clone(self))).await;
        done.map_err(|error| ApiError(crate::error::internal(&error)))?
    }
}

fn not_found(id: &SandboxId) -> ApiError {
    let problem = Problem::new(Code::SandboxNotFound, format!("sandbox {id} was not found"));
    problem
        .with_remedy("`glasshouse ps` lists the sandboxes that there are")
        .into()
}

fn gateway_token() -> String {
    format!(
        "{}sandbox_{}{}",
        glass_api::TOKEN_PREFIX,
        SandboxId::random(),
        SandboxId::random()
    )
}

/// The owner's environment wins over the way out, and that over the image's, whose author knows nothing of it.
fn spec(row: &SandboxRow, image: &Image, gateway_port: u16) -> SandboxSpec {
    let mut env: BTreeMap<String, String> = image.config.env.iter().cloned().collect();
    // Without a network of its own a sandbox has the host's way out.
    if gateway_port != 0 {
        env.extend(proxy::variables(gateway_port, &row.env));
    }
    env.extend(row.env.clone());
    SandboxSpec {
        id: row.id.clone(),
        layers: image.layers.clone(),
        env,
        limits: row.limits,
        gateway_port,
        root: row.root,
        isolation: row.isolation,
        // The archive has all of its files; the snapshot they began with may be gone.
        from: row.from_snapshot.clone().filter(|_| row.archive.is_none()),
    }
}

/// A move of a sandbox's row, with when it was used last.
fn move_of(driver: &Driver, from: SandboxState, to: SandboxState) -> Shift {
    let used = driver.inner().last_used(clock::steady());
    Shift {
        last_used_at: Some(used),
        ..Shift::new(from, to)
    }
}
