//! The operations on one sandbox, as requests to the daemon and changes of its files.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, ContainerStateStatusEnum, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    StartContainerOptions, StatsOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use glass_launch::remove_tree;
use glass_types::{RootMode, SandboxId};

use super::files::{Record, SandboxDir};
use super::host::DockerHost;
use super::image::Images;
use super::{SANDBOX_LABEL, STATE_LABEL, container, is_status};
use crate::programs::Programs;
use crate::{
    Activity, RuntimeError, SandboxSpec, SandboxStatus, Stats, health, ready, state, step,
};

/// A guest that has not answered by then never will.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a daemon that is away is asked whether it is back.
const AGAIN: Duration = Duration::from_millis(500);
/// How many lines of what a guest said an error shows.
const TAIL: &str = "20";

/// A daemon and the state directory of one server.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) docker: Docker,
    pub(super) host: DockerHost,
    /// Tells containers of this state directory from all others.
    pub(super) state: String,
    pub(super) state_dir: PathBuf,
    pub(super) programs: Programs,
    pub(super) seccomp: String,
    pub(super) images: Images,
}

impl Daemon {
    pub(super) fn existing(&self, id: &SandboxId) -> Result<SandboxDir, RuntimeError> {
        let dir = SandboxDir::new(&self.state_dir, id);
        if dir.exists() {
            Ok(dir)
        } else {
            Err(RuntimeError::Unknown(id.clone()))
        }
    }

    /// The name of a sandbox's container, and of the volume by which its home is seeded.
    fn name(&self, id: &SandboxId) -> String {
        format!("glasshouse-{}-{id}", self.state)
    }

    pub(super) async fn create(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let id = &spec.id;
        let dir = SandboxDir::new(&self.state_dir, id);
        if dir.record()?.is_some() {
            return Ok(());
        }
        self.host.runtime(spec.isolation)?;
        let unsupported = |what: String, remedy: &str| {
            Err(RuntimeError::Unsupported {
                what,
                remedy: remedy.to_owned(),
            })
        };
        if spec.root != RootMode::ThrowAway {
            return unsupported(
                format!("the root mode {}", spec.root),
                "the docker runtime cannot give it; ask for throw-away",
            );
        }
        if spec.from.is_some() {
            return unsupported(
                "a snapshot to begin with".to_owned(),
                "the docker runtime has no snapshots; begin with an image",
            );
        }
        // Of an attempt that was cut short.
        self.remove_containers(id).await?;
        self.remove_volume(id).await?;
        remove(id, dir.disk()).await?;
        dir.make(self.host.root)?;
        let image = self
            .images
            .ensure(&spec.layers)
            .await
            .map_err(step(id, "load the image into Docker"))?;
        self.seed(id, &image, &dir).await?;
        dir.write_record(&Record { image })
    }

    /// Has Docker copy the home that the image has to where the sandbox's own will be.
    async fn seed(
        &self,
        id: &SandboxId,
        image: &str,
        dir: &SandboxDir,
    ) -> Result<(), RuntimeError> {
        let volume = self.name(id);
        let body = container::seeding(&self.state, id, image, &volume, &dir.home());
        self.make(id, body)
            .await
            .map_err(step(id, "seed the home"))?;
        self.remove_containers(id).await?;
        self.remove_volume(id).await?;
        let (own, root) = (dir.clone(), self.host.root);
        tokio::task::spawn_blocking(move || own.own_home(root))
            .await
            .map_err(step(id, "seed the home"))?
            .map_err(step(id, "seed the home"))
    }

    async fn make(
        &self,
        id: &SandboxId,
        body: ContainerCreateBody,
    ) -> Result<(), bollard::errors::Error> {
        let options = CreateContainerOptionsBuilder::new()
            .name(&self.name(id))
            .build();
        self.docker
            .create_container(Some(options), body)
            .await
            .map(drop)
    }

    pub(super) async fn start(&self, spec: &SandboxSpec) -> Result<(), RuntimeError> {
        let id = &spec.id;
        let dir = self.existing(id)?;
        let Some(Record { mut image }) = dir.record()? else {
            return Err(RuntimeError::Unknown(id.clone()));
        };
        if self.activity(id).await?.is_none() {
            // One that ended, or was made and not started.
            self.remove_containers(id).await?;
            dir.remove_socket()?;
            let body = |image: &str| {
                container::running(
                    &self.state,
                    spec,
                    image,
                    &dir,
                    &self.programs.guest,
                    &self.seccomp,
                    &self.host,
                )
            };
            let mut made = self.make(id, body(&image)?).await;
            if matches!(&made, Err(e) if is_status(e, 404)) {
                // Somebody removed the image.
                image = self
                    .images
                    .ensure(&spec.layers)
                    .await
                    .map_err(step(id, "load the image into Docker"))?;
                dir.write_record(&Record {
                    image: image.clone(),
                })?;
                made = self.make(id, body(&image)?).await;
            }
            made.map_err(step(id, "make the container"))?;
            self.docker
                .start_container(&self.name(id), None::<StartContainerOptions>)
                .await
                .map_err(step(id, "start the container"))?;
        }
        let sockets = dir.guest();
        let failed = tokio::select! {
            answer = tokio::time::timeout(PATIENCE, ready::answered(&sockets)) => match answer {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => e.to_string(),
                Err(_) => format!("no answer within {PATIENCE:?}"),
            },
            () = self.exited(id) => "the guest ended".to_owned(),
        };
        let said = self.last_words(id).await;
        Err(step(id, "start the guest")(if said.is_empty() {
            failed
        } else {
            format!("{failed}; it said: {said}")
        }))
    }

    /// What the guest said last; nothing when the container is gone.
    pub(super) async fn last_words(&self, id: &SandboxId) -> String {
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .tail(TAIL)
            .build();
        let mut lines = self.docker.logs(&self.name(id), Some(options));
        let mut text = Vec::new();
        while let Some(Ok(line)) = lines.next().await {
            text.extend(line.into_bytes());
        }
        health::tail(&text)
    }

    /// `None` when it has no process.
    async fn activity(&self, id: &SandboxId) -> Result<Option<Activity>, RuntimeError> {
        let found = self
            .docker
            .inspect_container(&self.name(id), None::<InspectContainerOptions>)
            .await;
        let status = match found {
            Ok(found) => found.state.and_then(|state| state.status),
            Err(e) if is_status(&e, 404) => None,
            Err(e) => return Err(step(id, "ask Docker for the container")(e)),
        };
        Ok(match status {
            Some(ContainerStateStatusEnum::RUNNING) => Some(Activity::Running),
            Some(ContainerStateStatusEnum::PAUSED) => Some(Activity::Frozen),
            _ => None,
        })
    }

    pub(super) async fn set_frozen(
        &self,
        id: &SandboxId,
        frozen: bool,
    ) -> Result<(), RuntimeError> {
        self.existing(id)?;
        let name = self.name(id);
        let done = if frozen {
            self.docker.pause_container(&name).await
        } else {
            self.docker.unpause_container(&name).await
        };
        let Err(error) = done else { return Ok(()) };
        // What a repetition is told depends on the version, so what matters is how it is now.
        let wanted = if frozen {
            Activity::Frozen
        } else {
            Activity::Running
        };
        match self.activity(id).await? {
            Some(activity) if activity == wanted => Ok(()),
            Some(_) => Err(step(id, if frozen { "freeze" } else { "thaw" })(error)),
            None => Err(RuntimeError::NotRunning(id.clone())),
        }
    }

    /// Ends the processes and removes the container.
    pub(super) async fn stop(&self, id: &SandboxId, grace: Duration) -> Result<(), RuntimeError> {
        let activity = self.activity(id).await?;
        if activity == Some(Activity::Frozen) && !grace.is_zero() {
            self.set_frozen(id, false).await?;
        }
        if activity.is_some() && !grace.is_zero() {
            let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
            let options = StopContainerOptionsBuilder::new()
                .t(i32::try_from(seconds).unwrap_or(i32::MAX))
                .build();
            let patient = self.docker.clone().with_timeout(grace + PATIENCE);
            match patient.stop_container(&self.name(id), Some(options)).await {
                Ok(()) => {}
                Err(e) if is_status(&e, 304) || is_status(&e, 404) => {}
                Err(e) => return Err(step(id, "end the processes")(e)),
            }
        }
        self.remove_containers(id).await
    }

    pub(super) async fn destroy(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        self.remove_containers(id).await?;
        self.remove_volume(id).await?;
        remove(id, SandboxDir::new(&self.state_dir, id).path).await
    }

    /// All that carry our labels, whatever they are called.
    async fn containers(
        &self,
        id: Option<&SandboxId>,
    ) -> Result<Vec<bollard::models::ContainerSummary>, bollard::errors::Error> {
        let mut labels = vec![format!("{STATE_LABEL}={}", self.state)];
        labels.extend(id.map(|id| format!("{SANDBOX_LABEL}={id}")));
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        self.docker.list_containers(Some(options)).await
    }

    async fn remove_containers(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let failed = "remove the container";
        let found = self.containers(Some(id)).await.map_err(step(id, failed))?;
        for name in found.into_iter().filter_map(|found| found.id) {
            let options = RemoveContainerOptionsBuilder::new()
                .force(true)
                .v(true)
                .build();
            match self.docker.remove_container(&name, Some(options)).await {
                Ok(()) => {}
                Err(e) if is_status(&e, 404) => {}
                // Somebody else removes it already.
                Err(e) if is_status(&e, 409) => self.wait(&name, "removed").await,
                Err(e) => return Err(step(id, failed)(e)),
            }
        }
        Ok(())
    }

    async fn remove_volume(&self, id: &SandboxId) -> Result<(), RuntimeError> {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        match self
            .docker
            .remove_volume(&self.name(id), Some(options))
            .await
        {
            Err(e) if !is_status(&e, 404) => Err(step(id, "remove the volume")(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn list(&self) -> Result<Vec<SandboxStatus>, RuntimeError> {
        let mut all: BTreeMap<_, _> = state::sandboxes(&self.state_dir)?
            .into_iter()
            .map(|id| (id, Activity::Stopped))
            .collect();
        let found = self
            .containers(None)
            .await
            .map_err(|e| state::error(&self.state_dir, "sandboxes", std::io::Error::other(e)))?;
        for found in found {
            let id = found
                .labels
                .as_ref()
                .and_then(|labels| labels.get(SANDBOX_LABEL));
            let Some(id) = id.and_then(|id| id.parse::<SandboxId>().ok()) else {
                continue;
            };
            let activity = match found.state {
                Some(ContainerSummaryStateEnum::RUNNING) => Activity::Running,
                Some(ContainerSummaryStateEnum::PAUSED) => Activity::Frozen,
                _ => Activity::Stopped,
            };
            all.insert(id, activity);
        }
        let all = all.into_iter();
        Ok(all
            .map(|(id, activity)| SandboxStatus { id, activity })
            .collect())
    }

    pub(super) async fn stats(&self, id: &SandboxId) -> Result<Stats, RuntimeError> {
        self.existing(id)?;
        let options = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let mut answers = self.docker.stats(&self.name(id), Some(options));
        let stats = match answers.next().await {
            Some(Ok(stats)) => stats,
            Some(Err(e)) if is_status(&e, 404) => {
                return Err(RuntimeError::NotRunning(id.clone()));
            }
            Some(Err(e)) => return Err(step(id, "read usage")(e)),
            None => return Err(step(id, "read usage")("no answer")),
        };
        // One that ended has numbers for nothing.
        let memory = stats.memory_stats.and_then(|memory| memory.usage);
        let memory_bytes = memory.ok_or_else(|| RuntimeError::NotRunning(id.clone()))?;
        let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage);
        let nanoseconds = cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0);
        Ok(Stats {
            memory_bytes,
            cpu_usec: nanoseconds / 1000,
            pids: stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0),
            disk_bytes: None,
        })
    }

    /// Returns when there is no running container, also when there never was one.
    pub(super) async fn exited(&self, id: &SandboxId) {
        self.wait(&self.name(id), "not-running").await;
    }

    /// Waits for a container, through restarts of the daemon: one that answers anew knows what has become of it.
    async fn wait(&self, name: &str, condition: &str) {
        loop {
            let options = WaitContainerOptionsBuilder::new()
                .condition(condition)
                .build();
            match self.docker.wait_container(name, Some(options)).next().await {
                // Its code is not of interest.
                Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {
                    return;
                }
                Some(Err(e)) if is_status(&e, 404) => return,
                Some(Err(_)) | None => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

async fn remove(id: &SandboxId, path: PathBuf) -> Result<(), RuntimeError> {
    tokio::task::spawn_blocking(move || remove_tree(&path))
        .await
        .map_err(step(id, "remove the files"))?
        .map_err(step(id, "remove the files"))
}
