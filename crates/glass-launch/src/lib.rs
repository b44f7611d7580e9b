//! What the runtime says to the launcher and hears from it, and what both do with disks and with trees that hostile code
//! made.
#![deny(missing_docs)]

mod clone;
mod keep;
pub mod loopback;
pub mod net;
mod spec;
mod tree;

pub use clone::clone_file;
pub use keep::{KeepReport, KeepSpec, STILL_FILE, keep, thaw_left};
pub use spec::{
    Disk, GVISOR_FLAGS, GVISOR_SOCKETS, INIT_FILE, InitRecord, LOCK_FILE, LOG_FILE, LaunchReport,
    LaunchSpec, SOCKET_FILE, StepTime,
};
pub use tree::remove_tree;
