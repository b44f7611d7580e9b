//! Which runtime makes sandboxes, and its making.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use glass_image::DockerArchive;
use glass_runtime::docker::{DockerConfig, DockerRuntime, ImageArchive, docker_socket};
use glass_runtime::native::{self, NativeConfig, NativeRuntime};
use glass_runtime::sim::SimRuntime;
use glass_runtime::{Runtime, RuntimeError};

/// Which backend makes sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// What the configuration file says; else native where it is possible, else docker where a daemon answers.
    Auto,
    /// Containers on this kernel. Needs root.
    Native,
    /// Containers of a Docker daemon on this machine. Needs root.
    Docker,
    /// Plain child processes without isolation. Listens on loopback only.
    Sim,
}

impl RuntimeKind {
    /// Every kind, for messages.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Native, Self::Docker, Self::Sim];

    /// The word for it, the same on the command line and in the configuration file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Docker => "docker",
            Self::Sim => "sim",
        }
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RuntimeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                let all = Self::ALL.map(Self::as_str).join(", ");
                format!("{text:?} is not a runtime: give one of {all}")
            })
    }
}

/// Makes the runtime. The kind is never [`RuntimeKind::Auto`] any more.
pub(crate) async fn open(
    kind: RuntimeKind,
    state_dir: PathBuf,
    docker_host: Option<&str>,
) -> Result<(RuntimeKind, Arc<dyn Runtime>), RuntimeError> {
    Ok(match kind {
        RuntimeKind::Native => (
            kind,
            Arc::new(NativeRuntime::new(NativeConfig { state_dir })?),
        ),
        RuntimeKind::Docker => (kind, docker(&state_dir, docker_host).await?),
        RuntimeKind::Sim => (kind, Arc::new(SimRuntime::new(state_dir)?)),
        RuntimeKind::Auto => match native::obstacle(&state_dir) {
            None => {
                tracing::info!(runtime = "native", "this host can run native sandboxes");
                let runtime = NativeRuntime::new(NativeConfig { state_dir })?;
                (RuntimeKind::Native, Arc::new(runtime))
            }
            Some(obstacle) => {
                let error = RuntimeError::Unsupported {
                    what: format!(
                        "what the native runtime needs ({}: {})",
                        obstacle.name, obstacle.detail
                    ),
                    remedy: obstacle.remedy,
                };
                match docker(&state_dir, docker_host).await {
                    Ok(runtime) => {
                        tracing::warn!(
                            runtime = "docker",
                            reason = %error,
                            "native sandboxes are not possible here; Docker makes them"
                        );
                        (RuntimeKind::Docker, runtime)
                    }
                    Err(docker) => return Err(neither(error, &docker)),
                }
            }
        },
    })
}

/// What keeps native from being possible matters first: its remedy is the better one.
fn neither(native: RuntimeError, docker: &RuntimeError) -> RuntimeError {
    match native {
        RuntimeError::Unsupported { what, remedy } => RuntimeError::Unsupported {
            what,
            remedy: format!("{remedy}. Docker was tried too: {docker}"),
        },
        other => other,
    }
}

async fn docker(
    state_dir: &Path,
    docker_host: Option<&str>,
) -> Result<Arc<dyn Runtime>, RuntimeError> {
    let config = DockerConfig {
        state_dir: state_dir.to_owned(),
        socket: docker_socket(docker_host)?,
        archive: Arc::new(StoredLayers),
    };
    Ok(Arc::new(DockerRuntime::open(config).await?))
}

/// Archives of layers of the image store.
#[derive(Debug)]
struct StoredLayers;

impl ImageArchive for StoredLayers {
    fn write(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        layers: &[PathBuf],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        DockerArchive::of(name, labels, layers)?.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_others_are_named() {
        for kind in RuntimeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "podman".parse::<RuntimeKind>().unwrap_err();
        assert!(
            error.contains("podman") && error.contains("docker"),
            "{error}"
        );
    }
}
