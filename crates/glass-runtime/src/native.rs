//! Containers on this kernel, without a daemon. Needs the host's root.
//!
//! A container's init is started by a launcher program that exits at once, so the container is nobody's child and
//! lives on when the server ends. All that the next server needs is on disk and in `/proc`.

mod cgroup;
mod check;
mod disk;
mod floor;
mod gvisor;
mod launch;
mod network;
mod pool;
mod sandbox;
pub(crate) mod seccomp;
mod snapshot;
mod space;
mod stats;
mod template;
mod timings;
mod users;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use glass_launch::{INIT_FILE, SOCKET_FILE, STILL_FILE, remove_tree};
use glass_types::{Isolation, SandboxId};
use rustix::process::Signal;

pub use check::{Check, check, obstacle};
pub use glass_launch::StepTime;

use crate::locks::Locks;
use crate::process::Init;
use crate::programs::{Programs, make_dir_all};
use crate::{
    Activity, BoxStream, DiskFiles, Runtime, RuntimeError, SandboxSpec, SandboxStatus, Snapshots,
    Stats, blocking, health, no_microvm, ready, socket, state, step, tunnel,
};
use cgroup::{Group, Hierarchy};
use disk::Disks;
use gvisor::Gvisor;
use network::SocketMaker;
use sandbox::{Record, SandboxDir};
use timings::Timings;
use users::Users;

/// How soon a sandbox ends to which a connection failed, if that is why.
const SOON: Duration = Duration::from_secs(1);

/// What an operator decides about the native runtime.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// Where it keeps its programs and all files of its sandboxes.
    pub state_dir: PathBuf,
}

/// Sandboxes as containers.
#[derive(Debug)]
pub struct NativeRuntime {
    state_dir: PathBuf,
    programs: Programs,
    hierarchy: Hierarchy,
    users: Users,
    disks: Disks,
    sockets: SocketMaker,
    /// One disk is prepared at a time, for many may want the same.
    preparing: tokio::sync::Mutex<()>,
    gvisor: Gvisor,
    /// One operation at a time on each sandbox.
    locks: Locks,
    /// Inits that were seen alive. The directories know them too; this saves reading them for each connection.
    inits: Mutex<HashMap<SandboxId, Arc<Init>>>,
}

impl NativeRuntime {
    /// Prepares the state directory.
    ///
    /// # Errors
    /// When this process is not root, the host has no control groups, or the directory cannot be written.
    pub fn new(config: NativeConfig) -> Result<Self, RuntimeError> {
        if !rustix::process::geteuid().is_root() {
            return Err(RuntimeError::Unsupported {
                what: "root".to_owned(),
                remedy: "start the server as root, or use the sim runtime".to_owned(),
            });
        }
        let hierarchy = Hierarchy::detect().map_err(|reason| RuntimeError::Unsupported {
            what: "a usable control group hierarchy".to_owned(),
            remedy: format!("{reason}; mount cgroup2 at /sys/fs/cgroup"),
        })?;
        let filters = seccomp::filters().map_err(|e| RuntimeError::Unsupported {
            what: "seccomp".to_owned(),
            remedy: e.to_string(),
        })?;
        make_dir_all(&config.state_dir, 0o711)?;
        let state_dir = config
            .state_dir
            .canonicalize()
            .map_err(|source| RuntimeError::Io {
                path: config.state_dir.clone(),
                source,
            })?;
        make_dir_all(&state_dir.join("sandboxes"), 0o711)?;
        make_dir_all(&state_dir.join("users"), 0o700)?;
        let runtime = Self {
            programs: Programs::write(&state_dir, &filters)?,
            hierarchy,
            users: Users::new(&state_dir),
            gvisor: Gvisor::default(),
            disks: Disks::open(&state_dir)?,
            sockets: SocketMaker::spawn().map_err(|source| RuntimeError::Io {
                path: state_dir.clone(),
                source,
            })?,
            locks: Locks::default(),
            inits: Mutex::default(),
            preparing: tokio::sync::Mutex::default(),
            state_dir,
        };
        runtime.thaw_all_left()?;
        runtime
            .users
            .release_unless(|id| runtime.dir(id).exists())
            .map_err(|source| RuntimeError::Io {
                path: runtime.state_dir.join("users"),
                source,
            })?;
        Ok(runtime)
    }

    fn dir(&self, id: &SandboxId) -> SandboxDir {
        SandboxDir::new(&self.state_dir, id)
    }

    fn existing(&self, id: &SandboxId) -> Result<SandboxDir, RuntimeError> {
        let dir = self.dir(id);
        if dir.exists() {
            Ok(dir)
        } else {
            Err(RuntimeError::Unknown(id.clone()))
        }
    }

    fn group(&self, id: &SandboxId) -> Group {
        self.hierarchy.group(id.as_str())
    }

    /// Makes and starts a new sandbox; returns what each step took.
    ///
    /// # Errors
    /// Like those of [`Runtime::create`] and [`Runtime::start`].
    pub async fn up_timed(&self, spec: &SandboxSpec) -> Result<Vec<StepTime>, RuntimeError> {
        let _lock = self.locks.lock(&spec.id).await;
        let mut steps = self.create_timed(spec).await?;
        steps.extend(self.start_timed(spec).await?);
        Ok(steps)
    }

    async fn create_timed(&self, spec: &SandboxSpec) -> Result<Vec<StepTime>, RuntimeError> {
        self.supports(spec.isolation)?;
        gvisor::check(spec)?;
        let mut timings = Timings::begin();
        let dir = self.dir(&spec.id);
        if dir.record()?.is_some() {
            return Ok(timings.finish(&spec.id));
        }
        self.disks.check_space().map_err(|e| RuntimeError::Io {
            path: self.state_dir.clone(),
            source: e,
        })?;
        dir.make()?;
        timings.done("directories, lock");
        let disk = self.make_disk(spec, &dir).await?;
        timings.done("copy the disk");
        let uid_base = self
            .users
            .claim(&spec.id)
            .map_err(step(&spec.id, "claim user ids"))?;
        timings.done("claim user ids");
        let (image, pooled) = (disk.is_some(), disk.unwrap_or(false));
        dir.write_record(Record {
            uid_base,
            image,
            pooled,
        })?;
        timings.done("write the record to disk");
        Ok(timings.finish(&spec.id))
    }

    /// Makes the files it begins with; says whether its disk is in the pool, or `None` when it has a directory.
    async fn make_disk(
        &self,
        spec: &SandboxSpec,
        dir: &SandboxDir,
    ) -> Result<Option<bool>, RuntimeError> {
        let pooled = self.disks.pooled();
        let image = self.place_of(&spec.id, dir, pooled);
        match &spec.from {
            Some(snapshot) if self.disks.exist() => {
                self.fork(snapshot, &image, spec.limits.disk_bytes).await?;
            }
            Some(_) => {
                return Err(RuntimeError::Unsupported {
                    what: "the means to begin with a snapshot".to_owned(),
                    remedy: "run `glasshouse doctor`, which says what disks need".to_owned(),
                });
            }
            None if self.disks.exist() => {
                let failed = || step(&spec.id, "make the disk");
                let template = self.template(spec, dir).await.map_err(failed())?;
                self.disks
                    .begin_with(&template, &image, 0)
                    .await
                    .map_err(failed())?;
            }
            None => return Ok(None),
        }
        Ok(Some(pooled))
    }

    /// Where the disk of a sandbox is.
    fn place_of(&self, id: &SandboxId, dir: &SandboxDir, pooled: bool) -> PathBuf {
        if pooled {
            self.disks.pool_image(id)
        } else {
            dir.image()
        }
    }

    /// Waits until no device has the disk of a sandbox without processes.
    async fn let_go(&self, dir: &SandboxDir, record: &Record, image: &Path) -> io::Result<()> {
        match record {
            // One that was never attached need not be looked for.
            _ if !dir.was_launched() => Ok(()),
            Record { image: false, .. } => Ok(()),
            Record { pooled: true, .. } => disk::detached(image).await,
            Record { pooled: false, .. } => disk::detached_from_all(image).await,
        }
    }

    /// Thaws the file systems that were frozen when the last server ended.
    fn thaw_all_left(&self) -> Result<(), RuntimeError> {
        for id in state::sandboxes(&self.state_dir)? {
            let dir = self.dir(&id);
            if dir.path.join(STILL_FILE).exists()
                && let Some(record) = dir.record().unwrap_or(None)
            {
                snapshot::thaw_or_tell(&dir, &self.place_of(&id, &dir, record.pooled));
            }
        }
        Ok(())
    }

    async fn start_timed(&self, spec: &SandboxSpec) -> Result<Vec<StepTime>, RuntimeError> {
        self.supports(spec.isolation)?;
        gvisor::check(spec)?;
        let mut timings = Timings::begin();
        let dir = self.existing(&spec.id)?;
        self.release(&spec.id).await?;
        if self.init(&spec.id, &dir)?.is_none() {
            let launcher = launcher_done(&dir).await?;
            if self.init(&spec.id, &dir)?.is_none() {
                self.launch(spec, &dir, launcher, &mut timings).await?;
            }
        }
        let (dir, init) = self.running(&spec.id)?;
        timings.done("find init");
        match gvisor::sockets(&dir) {
            Some(sockets) => {
                health::first_of(&spec.id, &dir.path, &init, ready::answered(&sockets)).await?;
            }
            None => health::answered(&spec.id, &dir.path, &init).await?,
        }
        timings.done("guest starts and answers");
        Ok(timings.finish(&spec.id))
    }

    /// The sandbox's init, if it lives.
    fn init(&self, id: &SandboxId, dir: &SandboxDir) -> Result<Option<Arc<Init>>, RuntimeError> {
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(init) = inits.get(id) {
            if init.is_alive() {
                return Ok(Some(Arc::clone(init)));
            }
            inits.remove(id);
        }
        let found = Init::find(&dir.path).map_err(|e| dir.error("init.json", e))?;
        Ok(found.map(|init| {
            let init = Arc::new(init);
            inits.insert(id.clone(), Arc::clone(&init));
            init
        }))
    }

    fn running(&self, id: &SandboxId) -> Result<(SandboxDir, Arc<Init>), RuntimeError> {
        let dir = self.existing(id)?;
        let init = self
            .init(id, &dir)?
            .ok_or_else(|| RuntimeError::NotRunning(id.clone()))?;
        Ok((dir, init))
    }

    /// Ends the processes and removes what only a running sandbox has.
    async fn end(
        &self,
        id: &SandboxId,
        dir: &SandboxDir,
        grace: Duration,
    ) -> Result<(), RuntimeError> {
        if let Some(init) = self.init(id, dir)? {
            self.end_init(id, &init, grace)
                .await
                .map_err(step(id, "end the processes"))?;
        }
        self.group(id)
            .remove()
            .await
            .map_err(step(id, "remove the control groups"))?;
        if let Some(record) = dir.record().unwrap_or(None) {
            self.let_go(dir, &record, &self.place_of(id, dir, record.pooled))
                .await
                .map_err(step(id, "wait for the disk"))?;
        }
        self.inits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        // The record last: as long as it is there, there is something to tidy up.
        for name in [SOCKET_FILE, INIT_FILE] {
            match std::fs::remove_file(dir.path.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(dir.error(name, e)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Has its processes go on, if they stand still. One that should have been stopped when a server was killed may, and
    /// even its launcher, which holds the lock until its init goes on.
    async fn release(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let group = self.group(id);
        if group.is_held() {
            group.set_frozen(false).await.map_err(step(id, "thaw"))?;
        }
        Ok(())
    }

    async fn end_init(&self, id: &SandboxId, init: &Init, grace: Duration) -> io::Result<()> {
        let group = self.group(id);
        if !grace.is_zero() {
            if group.is_held() {
                group.set_frozen(false).await?;
            }
            init.signal(Signal::TERM)?;
            if init.ends_within(grace).await? {
                return Ok(());
            }
        }
        init.signal(Signal::KILL)?;
        // The v1 freezer holds even killed processes.
        if group.is_held() {
            group.set_frozen(false).await?;
        }
        init.exited().await
    }

    async fn removed(&self, path: &Path) -> Result<(), RuntimeError> {
        let path = path.to_owned();
        blocking(move || {
            remove_tree(&path).map_err(|source| RuntimeError::Io {
                path: path.clone(),
                source,
            })
        })
        .await
    }
}

/// Waits for a launcher that may still be at work, because a start was cancelled or its server killed, and keeps others
/// out while the result is held. Without it the sandbox's init is either recorded or gone.
async fn launcher_done(dir: &SandboxDir) -> Result<Option<File>, RuntimeError> {
    let dir = dir.clone();
    blocking(move || dir.lock()).await
}

#[async_trait]
impl Runtime for NativeRuntime {
    fn name(&self) -> &'static str {
        "native"
    }

    fn supports(&self, isolation: Isolation) -> Result<(), RuntimeError> {
        match isolation {
            Isolation::Container => Ok(()),
            Isolation::Gvisor => self.gvisor.program().map(drop),
            Isolation::MicroVm => Err(no_microvm()),
        }
    }

    async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(&spec.id).await;
        self.create_timed(spec).await.map(drop)
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(&spec.id).await;
        self.start_timed(spec).await.map(drop)
    }

    async fn freeze(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        let (dir, _) = self.running(id)?;
        // Frozen in the middle of a start it would never be done, nor its launcher.
        drop(launcher_done(&dir).await?);
        self.group(id)
            .set_frozen(true)
            .await
            .map_err(step(id, "freeze"))
    }

    async fn thaw(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        self.running(id)?;
        self.group(id)
            .set_frozen(false)
            .await
            .map_err(step(id, "thaw"))
    }

    async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        let dir = self.existing(id)?;
        self.release(id).await?;
        let _launcher = launcher_done(&dir).await?;
        self.end(id, &dir, grace).await
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let _lock = self.locks.lock(id).await;
        let dir = self.dir(id);
        if dir.exists() {
            self.release(id).await?;
            let _launcher = launcher_done(&dir).await?;
            self.end(id, &dir, Duration::ZERO).await?;
            // From here on it is half-made. Its directory goes last, for without it nobody would look for the rest.
            dir.remove_record()?;
            self.removed(&self.disks.pool_image(id)).await?;
            self.users
                .release_of(id)
                .map_err(step(id, "release user ids"))?;
            self.removed(&dir.path).await?;
        }
        self.locks.forget(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let mut all = Vec::new();
        for id in state::sandboxes(&self.state_dir)? {
            let dir = self.dir(&id);
            let activity = match self.init(&id, &dir)? {
                None if dir.path.join(INIT_FILE).exists() => Activity::Ended,
                None => Activity::Stopped,
                Some(_) if self.group(&id).is_frozen().unwrap_or(false) => Activity::Frozen,
                Some(_) => Activity::Running,
            };
            all.push(SandboxStatus { id, activity });
        }
        Ok(all)
    }

    async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError> {
        let dir = self.existing(id)?;
        let Some(init) = self.init(id, &dir)? else {
            return Err(RuntimeError::NotRunning(id.clone()));
        };
        let stats = self.group(id).stats().map_err(step(id, "read usage"))?;
        Ok(Stats {
            disk_bytes: stats::disk_bytes(init.pid),
            ..stats
        })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.disks.exist().then_some(self)
    }

    fn has_disks(&self) -> bool {
        true
    }

    async fn disk(&self, id: &SandboxId) -> Result<Option<DiskFiles>, RuntimeError> {
        let _lock = self.locks.lock(id).await;
        let dir = self.existing(id)?;
        let record = dir
            .record()?
            .ok_or_else(|| RuntimeError::Unknown(id.clone()))?;
        let _launcher = launcher_done(&dir).await?;
        if self.init(id, &dir)?.is_some() {
            return Err(RuntimeError::StillRunning(id.clone()));
        }
        if !record.image {
            return Ok(Some(DiskFiles::Directory(dir.path.join("disk"))));
        }
        let image = self.place_of(id, &dir, record.pooled);
        self.let_go(&dir, &record, &image)
            .await
            .map_err(step(id, "wait for the disk"))?;
        Ok(Some(DiskFiles::Image(image)))
    }

    /// Without a turn: a sandbox that is woken meanwhile does not wait until the kernel is done.
    async fn reclaim(&self, id: &SandboxId) -> Result<u64, RuntimeError> {
        let group = self.group(id);
        match self.running(id) {
            Ok(_) if group.is_frozen().unwrap_or(false) => {}
            // One that runs would only have it back at once, and one without processes has none.
            Ok(_) | Err(RuntimeError::NotRunning(_)) => return Ok(0),
            Err(e) => return Err(e),
        }
        blocking(move || group.reclaim())
            .await
            .map_err(step(id, "reclaim memory"))
    }

    async fn exited(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let dir = self.existing(id)?;
        match self.init(id, &dir)? {
            Some(init) => init.exited().await.map_err(step(id, "wait for the end")),
            None => Ok(()),
        }
    }

    async fn last_words(&self, id: &SandboxId) -> Option<String> {
        Some(health::log_tail(&self.dir(id).path)).filter(|words| !words.is_empty())
    }

    async fn connect(&self, id: &SandboxId, port: u16) -> Result<BoxStream, RuntimeError> {
        let (dir, init) = self.running(id)?;
        if gvisor::sockets(&dir).is_some() {
            // Its network is gVisor's own, which no socket of the host can enter.
            return tunnel(self.guest(id).await?, id, port).await;
        }
        let failed = "connect to a port";
        let namespace = match File::open(format!("/proc/{}/ns/net", init.pid)) {
            Ok(namespace) => namespace,
            // It ended since it was seen alive.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(RuntimeError::NotRunning(id.clone()));
            }
            Err(e) => return Err(step(id, failed)(e)),
        };
        // Only now is it sure that the id still meant this process when the namespace was opened.
        if !init.is_alive() {
            return Err(RuntimeError::NotRunning(id.clone()));
        }
        match self.sockets.connect(&namespace, port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Err(RuntimeError::PortClosed {
                    id: id.clone(),
                    port,
                })
            }
            // Its network is torn down before its end is to be seen.
            Err(_) if init.ends_within(SOON).await.unwrap_or(false) => {
                Err(RuntimeError::NotRunning(id.clone()))
            }
            Err(e) => Err(step(id, failed)(e)),
        }
    }

    async fn guest(&self, id: &SandboxId) -> Result<BoxStream, RuntimeError> {
        let (dir, _) = self.running(id)?;
        let sockets = gvisor::sockets(&dir).unwrap_or(dir.path);
        match socket::connect(&sockets, SOCKET_FILE).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                Err(RuntimeError::NotRunning(id.clone()))
            }
            // The socket goes with a stop.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(RuntimeError::NotRunning(id.clone()))
            }
            Err(e) => Err(step(id, "connect to the guest")(e)),
        }
    }

    async fn gateway(&self, id: &SandboxId) -> Result<tokio::net::UnixListener, RuntimeError> {
        let dir = self.existing(id)?;
        socket::bind(&dir.path.join("gateway"), "gateway.sock")
            .map_err(step(id, "bind the gateway"))
    }
}
