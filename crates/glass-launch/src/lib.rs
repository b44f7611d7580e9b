//! What the runtime says to the launcher and hears from it, and the removal of trees that hostile code made.
#![deny(missing_docs)]

mod spec;
mod tree;

pub use spec::{
    Disk, INIT_FILE, InitRecord, LOCK_FILE, LOG_FILE, LaunchReport, LaunchSpec, SOCKET_FILE,
    StepTime,
};
pub use tree::remove_tree;
