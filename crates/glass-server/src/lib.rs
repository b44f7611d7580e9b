//! The one server process: use cases, HTTP and wiring.
//!
//! `Config::load` parses, [`Config::build`] constructs everything and binds the sockets, [`Server::run`] serves until it
//! is told to stop. Nothing else makes long-lived objects.

mod app;
mod clock;
mod config;
mod error;
mod http;
mod link;
mod metrics;
mod origins;
mod runtime;
mod secret_file;
mod wiring;

pub use app::memory::{HostMemory, ProcMemory, Reading};
pub use config::{Config, ConfigErrors, ServeArgs, chosen_runtime};
pub use http::openapi;
pub use runtime::RuntimeKind;
pub use wiring::{BuildError, Server};
