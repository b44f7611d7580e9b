//! Use cases: what can be done with sandboxes and tasks, whoever asks.

mod archive;
mod egress_log;
mod guest_problem;
pub(crate) mod memory;
mod model_watch;
mod open_tasks;
mod preview_pass;
mod previews;
mod refusals;
mod sandboxes;
mod settings;
mod task_run;
mod tasks;
pub(crate) mod templates;
pub(crate) mod validate;
mod worker;

pub(crate) use archive::Archives;
pub(crate) use egress_log::EgressLog;
pub(crate) use guest_problem::guest_problem;
pub(crate) use model_watch::ModelWatch;
pub(crate) use open_tasks::Hold;
pub(crate) use preview_pass::PreviewKeys;
pub(crate) use previews::Previews;
pub(crate) use refusals::Refusals;
pub(crate) use sandboxes::{Attached, Awake, Down, Sandboxes, Use, UseKind, WakeStep};
pub(crate) use settings::Settings;
pub(crate) use tasks::Tasks;
