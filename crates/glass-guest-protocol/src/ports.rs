//! `glasshouse.Ports`: listening TCP sockets.

use serde::{Deserialize, Serialize};

/// A listening TCP socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub port: u16,
    /// The address it is bound to.
    pub address: String,
    /// The process that owns it, when that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// That process's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// Answer of `List`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortList {
    /// Sorted by port.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// One frame of `Watch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PortEvent {
    /// First, once: all there are.
    Ports(Vec<Port>),
    /// One appeared.
    Opened(Port),
    /// One vanished.
    Closed(Port),
}
