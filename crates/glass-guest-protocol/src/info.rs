//! `glasshouse.Guest/Info`: what a guest says of itself.

use serde::{Deserialize, Serialize};

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuestInfo {
    /// The sandbox's id.
    pub sandbox: String,
    /// TCP port on 127.0.0.1 at which the gateway is offered; what the configuration said, or the one picked for 0.
    pub gateway_port: u16,
    /// Version of the guest.
    pub version: String,
}
