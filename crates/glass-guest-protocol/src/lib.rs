//! Messages between host and guest.
//!
//! The wire protocol is that of the E2B sandbox daemon (Connect RPC with the JSON codec; HTTP `/files`, `/health`), with
//! services of our own for agents, ports and the app beside it.
#![deny(missing_docs)]

pub mod agent;
pub mod app;
mod bytes64;
mod config;
pub mod connect;
pub mod filesystem;
mod info;
pub mod ports;
pub mod process;
pub mod tunnel;

pub use config::{GuestConfig, Listen, RunAs};
pub use info::GuestInfo;

/// Where the home of the sandbox's user is, in every image. What is under it persists.
pub const HOME: &str = "/home/dev";
/// Where the app's files are, and where processes start unless told otherwise.
pub const WORKSPACE: &str = "/home/dev/workspace";
/// TCP port on 127.0.0.1 in the sandbox at which the guest offers the gateway.
pub const GATEWAY_PORT: u16 = 49982;
/// TCP port that previews of the app use unless its manifest says otherwise; given to it as `PORT`.
pub const WEB_PORT: u16 = 3000;
/// Numeric user and group of the sandbox's user `dev`, in every image.
pub const DEV_UID: u32 = 1000;
