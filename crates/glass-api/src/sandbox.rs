//! Sandboxes, their ports and their app.

use std::collections::BTreeMap;

use glass_types::{IdlePolicy, IdleWish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::EgressParams;

/// `POST /v1/sandboxes`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateParams {
    /// Image to start from: `base` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Template to start from, in the place of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Snapshot to start from, in the place of an image: a fork.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Environment of every process in the sandbox. Names are `[A-Za-z_][A-Za-z0-9_]*`.
    pub env: BTreeMap<String, String>,
    /// Labels to find it by. At most 64, names up to 63 and values up to 255 characters.
    pub labels: BTreeMap<String, String>,
    /// Kernel limits; what is left out takes the server's defaults.
    pub limits: LimitsParams,
    /// Ports whose preview URLs the answer lists even while nothing listens there.
    pub ports: Vec<u16>,
    /// What becomes of files outside of its home: `throw-away` unless given, or `writable`, where `sudo` works and what
    /// it installs stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What stands between it and the host's kernel: `container` unless given, `gvisor` or `microvm`. Refused where the
    /// host cannot give it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// `public` or `private`: who may see its previews. `public` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// When it goes to rest. What is left out is the template's, then the server's.
    pub idle: IdleWish,
    /// What it may reach outside; what the server's configuration says unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressParams>,
}

/// Limits that a caller may set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsParams {
    /// Memory and swap together, in bytes. From 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU in thousandths of a core. From 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Processes and threads. From 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Disk in bytes. From 64 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Share of the CPU while there is not enough for all, 1 to 10000; 100 is an equal one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u32>,
    /// Open files of one process. From 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Bytes per second to and from the network, each direction by itself. From 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_bytes_per_second: Option<u64>,
}

/// The limits that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// Memory and swap together, in bytes.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Disk in bytes.
    pub disk_bytes: u64,
    /// Share of the CPU while there is not enough for all; 100 is an equal one.
    pub cpu_weight: u32,
    /// Open files of one process.
    pub open_files: u32,
    /// Bytes per second to and from the network, each direction by itself.
    pub network_bytes_per_second: u64,
}

/// A sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxView {
    /// Its id.
    pub id: String,
    /// `creating`, `running`, `frozen`, `stopped`, `archived`, `failed` or `destroying`.
    pub state: String,
    /// Why it failed, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image it was made from.
    pub image: String,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its limits.
    pub limits: LimitsView,
    /// Ports that were asked for at creation.
    pub ports: Vec<u16>,
    /// The template it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The snapshot its files began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// `throw-away` or `writable`.
    pub root: String,
    /// `container`, `gvisor` or `microvm`.
    pub isolation: String,
    /// `public` or `private`.
    pub visibility: String,
    /// What its owner and its template want of the idle policy.
    #[serde(default)]
    pub idle: IdleWish,
    /// The idle policy in force.
    #[serde(default)]
    pub policy: IdlePolicy,
    /// It does not rest before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_until: Option<i64>,
    /// When it was used last; now, while it is in use.
    #[serde(default)]
    pub last_used_at: i64,
    /// Preview URL of its app.
    pub url: String,
    /// When it was made; milliseconds since 1970 UTC.
    pub created_at: i64,
}

/// `PATCH /v1/sandboxes/{id}`: what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxPatch {
    /// Labels to set; `null` takes one away. Those that are not named stay.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// When it goes to rest, in the place of all that was wanted before. `{}` leaves it to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleWish>,
    /// `public` or `private`: who may see its previews.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// Kernel limits, in force from its next start. All but the disk's.
    #[serde(skip_serializing_if = "LimitsParams::is_empty")]
    pub limits: LimitsParams,
}

impl LimitsParams {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `POST /v1/sandboxes/{id}/keepalive`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepaliveParams {
    /// The sandbox does not rest before this time; `null` ends a keepalive.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    pub until: Option<i64>,
}

/// What is in force after a keepalive: not always what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeepaliveView {
    /// It does not rest before. Earlier than asked for where that was too far ahead, later where somebody has asked for
    /// more.
    pub until: Option<i64>,
    /// What was asked for.
    pub asked: Option<i64>,
    /// How many milliseconds ahead a keepalive may be.
    pub longest_ms: u64,
}

/// `GET /v1/sandboxes/{id}/stats`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// Its state.
    pub state: String,
    /// Bytes of memory that it uses.
    pub memory_bytes: u64,
    /// Bytes of memory that it may use.
    pub memory_limit_bytes: u64,
    /// CPU time since its start, in microseconds.
    pub cpu_usec: u64,
    /// CPU that it may use, in thousandths of a core.
    pub cpu_limit_millis: u32,
    /// Its processes and threads.
    pub pids: u64,
    /// Processes and threads that it may have.
    pub pids_limit: u32,
    /// Bytes that its files take, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Bytes that its files may take.
    pub disk_limit_bytes: u64,
    /// Bytes that it sent to the outside since the server's start.
    pub network_sent_bytes: u64,
    /// Bytes that it received from the outside since the server's start.
    pub network_received_bytes: u64,
    /// Who uses it now, by kind: `preview`, `terminal`, `exec`, `files`, `logs`, `turn`, `action`.
    pub uses: BTreeMap<String, u32>,
    /// For how many milliseconds nobody has used it; 0 while somebody does.
    pub idle_ms: u64,
    /// When it was used last.
    pub last_used_at: i64,
    /// The idle policy in force.
    pub policy: IdlePolicy,
    /// It does not rest before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_until: Option<i64>,
    /// What becomes of it if nobody uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextRestView>,
}

/// The next step of a sandbox towards rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextRestView {
    /// `freeze`, `stop` or `archive`.
    pub step: String,
    /// When.
    pub at: i64,
}

/// `GET /v1/sandboxes`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SandboxList {
    /// The newest first.
    pub sandboxes: Vec<SandboxView>,
}

/// A TCP port on which a process of the sandbox listens, or that was asked for at creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortView {
    /// The port.
    pub port: u16,
    /// Whether something listens there now.
    pub open: bool,
    /// Its preview URL.
    pub url: String,
    /// Name of the listening program, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// `GET /v1/sandboxes/{id}/ports`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortList {
    /// In order of number.
    pub ports: Vec<PortView>,
}
