//! The contract of the engine's REST API `/v1`: what is sent, what is answered, which errors there are.
//!
//! Times that the server knows are milliseconds since 1970 UTC; times that files and images carry are RFC 3339, as they
//! come. Sizes are bytes, durations are milliseconds.
#![deny(missing_docs)]

mod agent;
mod app;
mod egress;
mod exec;
mod file;
mod image;
mod preview;
mod problem;
mod sandbox;
mod sandbox_event;
mod settings;
mod snapshot;
mod task;
mod template;

pub use agent::{AgentList, AgentView, ModelView};
pub use app::{AppHealthView, AppProcessView, AppView, LogLine};
pub use egress::{EgressParams, EgressRefusalList, EgressRefusalView, EgressView};
pub use exec::{ExecChunk, ExecCommand, ExecParams, ExecView, TerminalMessage};
pub use file::{FileKind, FileList, FileView, ImportView, MoveParams};
pub use glass_types::{
    After, DiffView, EndReason, Event, IdlePolicy, IdleWish, PlanEntry, ToolStatus,
};
pub use image::{ImageList, ImageView};
pub use preview::{PreviewLink, PreviewLinkParams};
pub use problem::{Code, FieldError, Problem};
pub use sandbox::{
    CreateParams, KeepaliveParams, KeepaliveView, LimitsParams, LimitsView, NextRestView, PortList,
    PortView, SandboxList, SandboxPatch, SandboxView, StatsView,
};
pub use sandbox_event::{SandboxEventList, SandboxEventView};
pub use settings::{SettingsParams, SettingsView};
pub use snapshot::{ForkParams, RestoreParams, SnapshotList, SnapshotParams, SnapshotView};
pub use task::{EventView, TaskList, TaskParams, TaskView};
pub use template::{TemplateDefaults, TemplateList, TemplateParams, TemplateView};

/// The longest prompt, in bytes.
pub const PROMPT_LIMIT: usize = 1 << 20;
/// The longest JSON body, in bytes.
pub const BODY_LIMIT: usize = 4 << 20;
/// What every API token begins with. The edge keeps such tokens out of sandboxes.
pub const TOKEN_PREFIX: &str = "gh_";
