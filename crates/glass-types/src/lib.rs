//! The nouns of Glasshouse as plain types: ids, names, limits and states.
//!
//! Nothing here reads, writes, waits or knows of a wire format.
#![deny(missing_docs)]

mod egress;
mod event;
mod id;
mod limits;
mod policy;
mod sealing;
mod state;

pub use egress::{EgressPolicy, EgressRule, EgressRuleError, Host, HostError};
pub use event::{DiffView, EndReason, Event, PlanEntry, ToolStatus};
pub use id::{EventId, IdError, SandboxId, SnapshotId, TaskId};
pub use limits::Limits;
pub use policy::{After, IdlePolicy, IdleWish, Never, Rest};
pub use sealing::{Isolation, RootMode, Visibility};
pub use state::{Denied, SandboxState, TaskState, Transition};
