//! The tables as SeaORM sees them.

pub(crate) mod agent_run;
pub(crate) mod egress_refusal;
pub(crate) mod event;
pub(crate) mod sandbox;
pub(crate) mod sandbox_event;
pub(crate) mod setting;
pub(crate) mod snapshot;
pub(crate) mod task;
pub(crate) mod template;
