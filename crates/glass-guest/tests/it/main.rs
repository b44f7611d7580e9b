//! The real guest as an ordinary process, driven by the host's client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents;
mod app;
mod archive;
mod files;
mod gateway;
mod harness;
mod ports;
mod processes;
mod supervision;
mod tunnel;
