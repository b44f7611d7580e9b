//! The whole server in this process, over plain HTTP, with sandboxes of the `sim` runtime.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod agent;
mod app;
mod archives;
mod auth;
mod bad_input;
mod client;
mod contract;
mod deaths;
mod events;
mod exec;
mod faulty;
mod files;
mod full_disk;
mod idle;
mod memory;
mod meta;
mod previews;
mod restart;
mod rests;
mod sandboxes;
mod settings;
mod snapshots;
mod tasks;
mod terminal;
mod wakes;
mod world;
