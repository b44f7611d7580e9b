//! What tests of the whole product need: a server of their own, a provider that writes down what it is sent, a browser.
//!
//! A dev-dependency only.

pub mod browser;
#[cfg(target_os = "linux")]
mod dockerd;
mod gvisor;
mod image;
mod recorder;
mod server;

pub use browser::Browser;
#[cfg(target_os = "linux")]
pub use dockerd::Dockerd;
pub use gvisor::lacks_runsc;
pub use image::{base_image, cache};
pub use recorder::{Recorded, Recorder};
pub use server::{CliOutput, ServerOptions, TestServer, artefact};
