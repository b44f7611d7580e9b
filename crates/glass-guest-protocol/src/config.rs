//! What the runtime tells the guest when it starts it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All that a guest needs to know, as JSON in the environment variable [`GuestConfig::VARIABLE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// The sandbox's id.
    pub sandbox: String,
    /// Where the guest's HTTP server listens.
    pub listen: Listen,
    /// Unix socket of the gateway. The server may bind it anew at any time, so it is opened for each connection.
    pub gateway_socket: PathBuf,
    /// TCP port on 127.0.0.1 at which the guest offers the gateway. 0 picks a free one (sim).
    pub gateway_port: u16,
    /// Directory of the guest's own files: logs of agents and of the app. Persists; the sandbox's user cannot write it.
    pub state_dir: PathBuf,
    /// The user's home. Persists.
    pub home: PathBuf,
    /// Where the app's files are; relative paths and processes start here. Made if absent.
    pub workspace: PathBuf,
    /// User of every process and of every file operation. `None` keeps the guest's own (sim).
    pub run_as: Option<RunAs>,
    /// Whether file operations are confined to `home` (sim, where there is no mount namespace).
    pub confine_to_home: bool,
    /// Whether processes may be root of the sandbox, by `sudo` or by being started so.
    #[serde(default)]
    pub sudo: bool,
    /// Environment of every process.
    pub env: BTreeMap<String, String>,
}

/// Where the guest's HTTP server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listen {
    /// An inherited, bound and listening unix socket. Its path is outside the sandbox.
    Fd(i32),
    /// A path to bind. The socket is there only once it listens, and whoever reaches the path may connect.
    Path(PathBuf),
}

/// A numeric user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User id inside the sandbox.
    pub uid: u32,
    /// Group id inside the sandbox.
    pub gid: u32,
}

impl GuestConfig {
    /// The environment variable that carries it. The guest removes it before it starts anything.
    pub const VARIABLE: &str = "GLASSHOUSE_GUEST";
    /// The environment variable with which the launcher tells of the sockets of the way out that it made: `2,2` for two
    /// listeners from descriptor 4 on and two sockets for DNS questions after them, and one more descriptor to keep.
    pub const SOCKETS: &str = "GLASSHOUSE_SOCKETS";
}
