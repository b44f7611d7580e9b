//! Use cases: what can be done with sandboxes and tasks, whoever asks.

mod guest_problem;
mod open_tasks;
mod previews;
mod refusals;
mod sandboxes;
mod task_run;
mod tasks;
pub(crate) mod templates;
pub(crate) mod validate;
mod worker;

pub(crate) use guest_problem::guest_problem;
pub(crate) use open_tasks::Hold;
pub(crate) use previews::Previews;
pub(crate) use refusals::Refusals;
pub(crate) use sandboxes::Sandboxes;
pub(crate) use tasks::Tasks;
