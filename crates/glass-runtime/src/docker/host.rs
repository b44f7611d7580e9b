//! The daemon, and what it can do.

use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::models::SystemInfoCgroupVersionEnum;
use bollard::{API_DEFAULT_VERSION, Docker};
use glass_types::Isolation;

use crate::RuntimeError;

/// Where Debian's and Docker's own packages have it.
const SOCKET: &str = "/var/run/docker.sock";
/// How long one request may take until its answer begins. Making a container waits for the disk.
const PATIENCE: u64 = 120;

/// What was asked of the daemon once.
#[derive(Debug, Clone)]
pub struct DockerHost {
    /// Its version.
    pub version: String,
    /// Whether containers have user namespaces: then root in one is nobody on the host.
    pub user_namespaces: bool,
    /// Whether containers live on while the daemon is restarted.
    pub live_restore: bool,
    /// Names of the OCI runtimes that it knows.
    pub runtimes: Vec<String>,
    /// The host's id of the root of containers.
    pub(super) root: u32,
    /// Whether CPU weights are those of control groups of version 2.
    pub(super) weights: bool,
}

/// The path of the socket that `DOCKER_HOST` names.
///
/// # Errors
/// When it is not a unix socket: the files of sandboxes have to be on the daemon's own machine.
pub fn docker_socket(docker_host: Option<&str>) -> Result<PathBuf, RuntimeError> {
    match docker_host.filter(|text| !text.is_empty()) {
        None => Ok(PathBuf::from(SOCKET)),
        Some(text) => match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
            _ => Err(RuntimeError::Unsupported {
                what: format!("Docker at DOCKER_HOST {text:?}"),
                remedy: format!(
                    "sandboxes need a daemon on this machine: give a path such as unix://{SOCKET}"
                ),
            }),
        },
    }
}

/// Connects to the daemon and asks what it is.
///
/// # Errors
/// [`RuntimeError::Unsupported`] when it does not answer or lacks what sandboxes need.
pub async fn docker_host(socket: &Path) -> Result<DockerHost, RuntimeError> {
    reach(socket).await.map(|(_, host)| host)
}

pub(super) async fn reach(socket: &Path) -> Result<(Docker, DockerHost), RuntimeError> {
    let shown = socket.display();
    let missing = |what: String, remedy: &str| RuntimeError::Unsupported {
        what,
        remedy: remedy.to_owned(),
    };
    let unreachable = |e: Error| {
        missing(
            format!("a Docker daemon at {shown} ({e})"),
            "start it (`systemctl start docker`), give its socket in DOCKER_HOST, or use another runtime",
        )
    };
    let docker =
        Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE, API_DEFAULT_VERSION)
            .map_err(unreachable)?
            .negotiate_version()
            .await
            .map_err(unreachable)?;
    let info = docker.info().await.map_err(unreachable)?;
    if info.os_type.as_deref() != Some("linux") {
        return Err(missing(
            format!("Linux containers of the Docker daemon at {shown}"),
            "switch it to Linux containers",
        ));
    }
    if info.pids_limit == Some(false) || info.memory_limit == Some(false) {
        return Err(missing(
            format!("limits of memory and processes in the Docker daemon at {shown}"),
            "give its host the control groups memory and pids",
        ));
    }
    let options = info.security_options.unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.starts_with(name));
    let rootless = has("name=rootless");
    if rootless {
        return Err(missing(
            format!("a Docker daemon at {shown} that runs as root"),
            "a rootless one cannot give files to the user of a sandbox; use the one of the system",
        ));
    }
    let user_namespaces = has("name=userns");
    let root = match (user_namespaces, info.docker_root_dir) {
        (false, _) => 0,
        // With a user namespace the daemon keeps its files apart, in a directory that is called <uid>.<gid>.
        (true, Some(dir)) => remapped_root(&dir).ok_or_else(|| {
            missing(
                format!("the user ids of containers, which {dir} should name,"),
                "report this with the version of Docker",
            )
        })?,
        (true, None) => 0,
    };
    Ok((
        docker,
        DockerHost {
            version: info.server_version.unwrap_or_default(),
            user_namespaces,
            live_restore: info.live_restore_enabled.unwrap_or(false),
            runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
            root,
            weights: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
        },
    ))
}

fn remapped_root(dir: &str) -> Option<u32> {
    let (uid, gid) = Path::new(dir).file_name()?.to_str()?.split_once('.')?;
    let uid: u32 = uid.parse().ok()?;
    (gid.parse() == Ok(uid)).then_some(uid)
}

impl DockerHost {
    /// The OCI runtime of an isolation tier; `None` means the daemon's own.
    pub(super) fn runtime(
        &self,
        isolation: Isolation,
    ) -> Result<Option<&'static str>, RuntimeError> {
        match isolation {
            Isolation::Container => Ok(None),
            Isolation::Gvisor if self.runtimes.iter().any(|name| name == "runsc") => {
                Ok(Some("runsc"))
            }
            Isolation::Gvisor => Err(RuntimeError::Unsupported {
                what: format!("the isolation tier {isolation}"),
                remedy: "install gVisor and register it in /etc/docker/daemon.json as the runtime `runsc` with the \
                         argument --host-uds=all"
                    .to_owned(),
            }),
            Isolation::MicroVm => Err(RuntimeError::Unsupported {
                what: format!("the isolation tier {isolation}"),
                remedy: "the docker runtime cannot give it; ask for another tier".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unix_socket_is_a_docker_host() {
        assert_eq!(docker_socket(None).unwrap(), Path::new(SOCKET));
        assert_eq!(docker_socket(Some("")).unwrap(), Path::new(SOCKET));
        let given = docker_socket(Some("unix:///run/x.sock")).unwrap();
        assert_eq!(given, Path::new("/run/x.sock"));
        for wrong in [
            "tcp://10.0.0.1:2375",
            "unix://x",
            "ssh://me@there",
            "/run/x",
        ] {
            let error = docker_socket(Some(wrong)).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn the_root_of_containers_is_read_from_the_directory() {
        assert_eq!(
            remapped_root("/var/lib/docker/165536.165536"),
            Some(165_536)
        );
        assert_eq!(remapped_root("/var/lib/docker"), None);
        assert_eq!(remapped_root("/var/lib/docker.d/1.2"), None);
    }
}
