//! The real guest as an ordinary process, driven by the host's client.

mod agents;
mod app;
mod files;
mod gateway;
mod harness;
mod ports;
mod processes;
