//! Agents and the models they can use here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A coding agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Its id: `claude-code`.
    pub id: String,
    /// Its name: `Claude Code`.
    pub name: String,
    /// The model it uses unless a task names another.
    pub model: ModelView,
    /// Whether tasks use this agent unless they name another.
    pub default: bool,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelView {
    /// What a task names it by.
    pub id: String,
    /// What people read: the demo model is always called `demo model`.
    pub name: String,
    /// Whether it is the built-in demo model, which needs no key and writes small apps only.
    pub demo: bool,
}

/// `GET /v1/agents`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// In order of id.
    pub agents: Vec<AgentView>,
}
