//! A sandbox under gVisor: the same files and the same guest, and a kernel in user space that answers its system calls.
//!
//! `runsc` is the first process of the container. It lives in a tree of its own, of which the sandbox sees the parts that
//! its description names, through a process that opens files for it. That process and gVisor's kernel are in the
//! sandbox's user namespace, so neither is root of the host.
//!
//! ```text
//! runsc, program   runsc and the guest
//! bundle, state    the description, and what runsc keeps
//! gateway, guest   the sandbox's sockets: to the gateway, and of its guest
//! root, rw, …      the sandbox's files, as in any container
//! proc, dev, tmp   what runsc needs
//! ```

use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use glass_launch::{GVISOR_FLAGS, GVISOR_SOCKETS, LaunchSpec};
use rustix::fs::Mode;
use serde_json::{Value, json};

use crate::confine;
use crate::container::GUEST;
use crate::failure::{Failure, Step};

/// What the guest needs, as in a container.
const CAPABILITIES: [&str; 5] = [
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_KILL",
    "CAP_SETPCAP",
    "CAP_CHOWN",
];

/// Writes the description of the container, into the scratch tree.
pub(crate) fn describe(spec: &LaunchSpec) -> Result<(), Failure> {
    let text = serde_json::to_vec(&bundle(spec)).step("describe the container")?;
    fs::write("bundle/config.json", text).step("describe the container")
}

/// Becomes the program that runs it.
pub(crate) fn run(spec: &LaunchSpec) -> Result<Infallible, Failure> {
    confine::forbid_core_dumps().step("set resource limits")?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let error = Command::new("/runsc")
        .env_clear()
        .args(["--root", "/state"])
        .args(GVISOR_FLAGS)
        .args(["run", "--bundle", "/bundle", &spec.id])
        .exec();
    Err(error).step("execute runsc")
}

fn bundle(spec: &LaunchSpec) -> Value {
    let env: Vec<String> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let namespaces =
        ["user", "pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
    let ids = json!([{ "containerID": 0, "hostID": spec.uid_base, "size": 65536 }]);
    let limit = |kind: &str, most: u32| json!({ "type": kind, "soft": most, "hard": most });
    json!({
        "ociVersion": "1.0.2",
        "hostname": spec.id,
        "root": { "path": "/root", "readonly": false },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [GUEST],
            "env": env,
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            },
            "rlimits": [limit("RLIMIT_NOFILE", spec.open_files), limit("RLIMIT_CORE", 0)],
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            memory("/tmp", &["size=1g", "mode=1777"]),
            memory("/run", &["size=64m", "mode=0755"]),
            bind("/rw/home", "/home/dev", "rw"),
            bind("/rw/state", "/var/lib/glasshouse", "rw"),
            bind("/gateway", "/run/glasshouse", "ro"),
            bind("/guest", GVISOR_SOCKETS, "rw"),
            bind("/program", GUEST, "ro"),
        ],
        "linux": {
            "namespaces": namespaces,
            "uidMappings": ids,
            "gidMappings": ids,
        },
    })
}

fn memory(at: &str, options: &[&str]) -> Value {
    json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options })
}

fn bind(from: &str, at: &str, mode: &str) -> Value {
    let options = ["rbind", "nosuid", "nodev", mode];
    json!({ "destination": at, "type": "bind", "source": from, "options": options })
}
