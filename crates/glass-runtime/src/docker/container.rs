//! What a container is to be, as Docker takes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig, ResourcesUlimits,
};
use glass_guest_protocol::{DEV_UID, GuestConfig, HOME, Listen, RunAs, WORKSPACE};
use glass_launch::SOCKET_FILE;
use glass_types::{Limits, SandboxId};

use super::files::SandboxDir;
use super::host::DockerHost;
use super::{SANDBOX_LABEL, STATE_LABEL};
use crate::{RuntimeError, SandboxSpec};

const GUEST: &str = "/.glasshouse/guest";
const SOCKETS: &str = "/.glasshouse/socket";
const STATE: &str = "/var/lib/glasshouse";
const GATEWAY: &str = "/run/glasshouse";
/// What the guest needs to run and to end processes of the sandbox's user. The user has none of it.
const CAPABILITIES: [&str; 5] = ["SETUID", "SETGID", "KILL", "SETPCAP", "CHOWN"];
/// Microseconds in which the CPU time of a limit may be used.
const CPU_PERIOD: i64 = 100_000;

/// The labels by which a container is known as ours, and whose it is.
pub(super) fn labels(state: &str, id: &SandboxId) -> HashMap<String, String> {
    HashMap::from([
        (STATE_LABEL.to_owned(), state.to_owned()),
        (SANDBOX_LABEL.to_owned(), id.to_string()),
    ])
}

/// A container that is never started: Docker copies what its image has in the home to the volume when it is made.
pub(super) fn seeding(
    state: &str,
    id: &SandboxId,
    image: &str,
    volume: &str,
    home: &Path,
) -> ContainerCreateBody {
    let options =
        [("type", "none"), ("o", "bind")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut options = HashMap::from(options);
    options.insert("device".to_owned(), text(home));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![GUEST.to_owned()]),
        labels: Some(labels(state, id)),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![Mount {
                typ: Some(MountType::VOLUME),
                source: Some(volume.to_owned()),
                target: Some(HOME.to_owned()),
                volume_options: Some(MountVolumeOptions {
                    no_copy: Some(false),
                    labels: Some(labels(state, id)),
                    driver_config: Some(MountVolumeOptionsDriverConfig {
                        name: Some("local".to_owned()),
                        options: Some(options),
                    }),
                    ..MountVolumeOptions::default()
                }),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The container of a sandbox. It lives as long as the sandbox runs, so its root is thrown away with it.
pub(super) fn running(
    state: &str,
    spec: &SandboxSpec,
    image: &str,
    dir: &SandboxDir,
    guest: &Path,
    seccomp: &str,
    host: &DockerHost,
) -> Result<ContainerCreateBody, RuntimeError> {
    let config =
        serde_json::to_string(&guest_config(spec)).expect("the configuration is plain data");
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some(spec.id.to_string()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(vec![GUEST.to_owned()]),
        cmd: Some(Vec::new()),
        env: Some(vec![format!("{}={config}", GuestConfig::VARIABLE)]),
        stop_signal: Some("SIGTERM".to_owned()),
        labels: Some(labels(state, &spec.id)),
        host_config: Some(HostConfig {
            runtime: host.runtime(spec.isolation)?.map(str::to_owned),
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(CAPABILITIES.map(str::to_owned).into()),
            security_opt: Some(vec![
                "no-new-privileges".to_owned(),
                format!("seccomp={seccomp}"),
            ]),
            // No port of a sandbox is special: whoever lives in it may serve on port 80.
            sysctls: Some(HashMap::from([(
                "net.ipv4.ip_unprivileged_port_start".to_owned(),
                "0".to_owned(),
            )])),
            mounts: Some(vec![
                bind(dir.home(), HOME, false),
                bind(dir.state(), STATE, false),
                bind(dir.guest(), SOCKETS, false),
                bind(dir.gateway(), GATEWAY, true),
                bind(guest.to_owned(), GUEST, true),
            ]),
            tmpfs: Some(temporary()),
            shm_size: Some(256 << 20),
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "1m".to_owned()),
                    ("max-file".to_owned(), "1".to_owned()),
                ])),
            }),
            ..limited(&spec.limits, host.weights)
        }),
        ..ContainerCreateBody::default()
    })
}

fn limited(limits: &Limits, weights: bool) -> HostConfig {
    let bytes = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let limit = |name: &str, value: i64| ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    };
    HostConfig {
        memory: Some(bytes),
        // Memory and swap together.
        memory_swap: Some(bytes),
        // Not as `nano_cpus`, of which Docker refuses more than the host has.
        cpu_period: Some(CPU_PERIOD),
        cpu_quota: Some((i64::from(limits.cpu_millis) * CPU_PERIOD / 1000).max(1000)),
        cpu_shares: Some(shares(limits.cpu_weight, weights)),
        pids_limit: Some(i64::from(limits.pids)),
        ulimits: Some(vec![
            limit("nofile", open_files(limits.open_files)),
            limit("core", 0),
        ]),
        ..HostConfig::default()
    }
}

/// As many as the limit says, as far as the host allows: it may keep even its root from raising its own bound.
fn open_files(limit: u32) -> i64 {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = most.map_or(limit, |most| {
        limit.min(u32::try_from(most).unwrap_or(u32::MAX))
    });
    i64::from(limit)
}

/// A weight of 1 to 10000 as the shares that Docker takes. On control groups of version 2 it makes a weight of them
/// again; 100 and 1024 are what a group has by itself.
fn shares(weight: u32, weights: bool) -> i64 {
    let weight = i64::from(weight.clamp(1, 10_000));
    if weights {
        // Rounded up, as the way back rounds down.
        2 + ((weight - 1) * 262_142 + 9998) / 9999
    } else {
        (weight * 1024 / 100).max(2)
    }
}

fn temporary() -> HashMap<String, String> {
    let plain = "rw,exec,nosuid,nodev";
    HashMap::from([
        ("/tmp".to_owned(), format!("{plain},size=1g,mode=1777")),
        ("/run".to_owned(), format!("{plain},size=64m,mode=0755")),
    ])
}

fn bind(source: PathBuf, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&source)),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// The state directory is checked to be text when the runtime is made.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn guest_config(spec: &SandboxSpec) -> GuestConfig {
    GuestConfig {
        sandbox: spec.id.to_string(),
        listen: Listen::Path(Path::new(SOCKETS).join(SOCKET_FILE)),
        gateway_socket: Path::new(GATEWAY).join("gateway.sock"),
        gateway_port: spec.gateway_port,
        state_dir: PathBuf::from(STATE),
        home: PathBuf::from(HOME),
        workspace: PathBuf::from(WORKSPACE),
        run_as: Some(RunAs {
            uid: DEV_UID,
            gid: DEV_UID,
        }),
        confine_to_home: false,
        sudo: false,
        env: spec.env.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runc makes of shares on control groups of version 2.
    fn weight_of(shares: i64) -> i64 {
        1 + (shares - 2) * 9999 / 262_142
    }

    #[test]
    fn a_weight_survives_the_way_through_docker() {
        for weight in [1, 2, 50, 100, 101, 9999, 10_000] {
            let shares = shares(weight, true);
            assert!((2..=262_144).contains(&shares));
            assert_eq!(weight_of(shares), i64::from(weight));
        }
        assert_eq!(shares(100, false), 1024);
        assert_eq!(shares(0, false), 10);
    }
}
