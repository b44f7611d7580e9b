//! The host's memory: who is let in, and who goes when it gets short.
//!
//! A sandbox is let in when what it used last time fits beside all others, and those that are on their way in, above a
//! floor that stays free. When it does not, sandboxes that need their memory least are put to rest first. The same
//! happens by itself when memory gets short, from the least needed on; a sandbox with a turn is touched in an emergency
//! only, and its owner is told.

mod admission;
mod host;
mod relief;

pub(crate) use admission::{Admission, Reservation, Shortage};
pub use host::{HostMemory, ProcMemory, Reading};
pub(crate) use relief::{Class, Level, Resident, Step, next};
