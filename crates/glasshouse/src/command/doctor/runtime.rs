//! What the runtime needs of this machine.

use glass_runtime::docker::{docker_host, docker_socket};
use glass_runtime::native;
use glass_server::{RuntimeKind, chosen_runtime};

use super::check::{Check, Standing};
use super::place;
use crate::cli::RuntimeArgument;
use crate::command::serve;
use crate::context::Context;

/// The runtime that a server would have, and how it stands with it.
pub(super) async fn checks(context: &Context, asked: RuntimeArgument) -> (RuntimeKind, Vec<Check>) {
    let asked = serve::kind(asked);
    let kind = match chosen_runtime(asked, context.data()) {
        Ok(kind) => kind,
        Err(error) => {
            let check = Check::new("configuration", Standing::Bad, error)
                .with_remedy("mend glasshouse.toml in the data directory");
            return (asked, vec![check]);
        }
    };
    match kind {
        RuntimeKind::Native => (kind, native_checks(context)),
        RuntimeKind::Docker => (kind, docker_checks(context).await),
        RuntimeKind::Sim => {
            let remedy =
                "nothing is isolated: run only what you trust, or use `--runtime native` as root";
            let note = Check::new("runtime", Standing::Note, "sim").with_remedy(remedy);
            (kind, vec![note, place::disk(context)])
        }
        RuntimeKind::Auto => auto(context).await,
    }
}

/// As the server chooses. When nothing is possible, what native lacks is what to mend.
async fn auto(context: &Context) -> (RuntimeKind, Vec<Check>) {
    let Some(obstacle) = native::obstacle(&place::existing(context.data())) else {
        return (RuntimeKind::Native, native_checks(context));
    };
    let docker = docker_checks(context).await;
    if docker.iter().any(Check::is_bad) {
        return (RuntimeKind::Native, native_checks(context));
    }
    let detail = format!("docker, because of {}: {}", obstacle.name, obstacle.detail);
    let mut checks =
        vec![Check::new("runtime", Standing::Note, detail).with_remedy(obstacle.remedy)];
    checks.extend(docker);
    (RuntimeKind::Docker, checks)
}

fn native_checks(context: &Context) -> Vec<Check> {
    native::check(&place::existing(context.data()))
        .into_iter()
        .map(Check::from)
        .collect()
}

async fn docker_checks(context: &Context) -> Vec<Check> {
    let host = std::env::var_os("DOCKER_HOST");
    let host = host.map(|host| host.to_string_lossy().into_owned());
    let mut checks = Vec::new();
    if !rustix::process::geteuid().is_root() {
        checks.push(
            Check::new("root", Standing::Bad, "not running as root").with_remedy(
                "the files of sandboxes have owners of their own also with Docker: start the server as root, or use the \
                 sim runtime",
            ),
        );
    }
    let found = match docker_socket(host.as_deref()) {
        Ok(socket) => docker_host(&socket).await.map(|host| (socket, host)),
        Err(error) => Err(error),
    };
    match found {
        Err(error) => checks.push(Check::new("docker", Standing::Bad, error.to_string())),
        Ok((socket, host)) => {
            let detail = format!("version {} at {}", host.version, socket.display());
            checks.push(Check::new("docker", Standing::Good, detail));
            checks.push(if host.user_namespaces {
                Check::new("user namespaces", Standing::Good, "Docker gives them")
            } else {
                Check::new(
                    "user namespaces",
                    Standing::Note,
                    "Docker gives none: root of a sandbox is the host's, without capabilities",
                )
                .with_remedy("set `userns-remap` to `default` in /etc/docker/daemon.json")
            });
            checks.push(if host.live_restore {
                Check::new(
                    "live restore",
                    Standing::Good,
                    "sandboxes outlive a restart of Docker",
                )
            } else {
                Check::new(
                    "live restore",
                    Standing::Note,
                    "a restart of Docker stops all sandboxes",
                )
                .with_remedy("set `live-restore` to true in /etc/docker/daemon.json")
            });
            checks.push(
                Check::new(
                    "disk limit",
                    Standing::Note,
                    "Docker does not enforce that of sandboxes",
                )
                .with_remedy("use the native runtime where a limit matters"),
            );
        }
    }
    checks.push(place::disk(context));
    checks
}
