//! Use cases: what can be done with sandboxes and tasks, whoever asks.

mod guest_problem;
mod previews;
mod sandboxes;
mod task_run;
mod tasks;
mod validate;

pub(crate) use guest_problem::guest_problem;
pub(crate) use previews::Previews;
pub(crate) use sandboxes::Sandboxes;
pub(crate) use tasks::Tasks;
