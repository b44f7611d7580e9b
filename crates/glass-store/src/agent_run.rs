//! Which agent process serves a sandbox, and which ACP session it has open.

use glass_types::SandboxId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, IntoActiveModel};

use crate::entity::agent_run::{Column, Entity, Model};
use crate::{Store, StoreError};

/// The present process of one agent in one sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRunRow {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The agent's id.
    pub agent: String,
    /// What the guest knows the process by.
    pub process_key: String,
    /// The model it was started with.
    pub model: String,
    /// The conversation it has open, to be loaded by the next process.
    pub acp_session: Option<String>,
}

impl Store {
    /// The present process of an agent in a sandbox, if it ever had one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn agent_run(
        &self,
        sandbox: &SandboxId,
        agent: &str,
    ) -> Result<Option<AgentRunRow>, StoreError> {
        let key = (sandbox.to_string(), agent.to_owned());
        let model = Entity::find_by_id(key)
            .one(&self.reader)
            .await
            .map_err(StoreError::query("read an agent run"))?;
        Ok(model.map(|model| AgentRunRow {
            sandbox: sandbox.clone(),
            agent: model.agent,
            process_key: model.process_key,
            model: model.model,
            acp_session: model.acp_session,
        }))
    }

    /// Writes the present process of an agent in a sandbox over the one before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_agent_run(&self, row: &AgentRunRow) -> Result<(), StoreError> {
        let model = Model {
            sandbox: row.sandbox.to_string(),
            agent: row.agent.clone(),
            process_key: row.process_key.clone(),
            model: row.model.clone(),
            acp_session: row.acp_session.clone(),
        };
        let replace = OnConflict::columns([Column::Sandbox, Column::Agent])
            .update_columns([Column::ProcessKey, Column::Model, Column::AcpSession])
            .to_owned();
        let insert = Entity::insert(model.into_active_model())
            .on_conflict(replace)
            .exec_without_returning(&self.writer)
            .await;
        insert
            .map(drop)
            .map_err(StoreError::query("write an agent run"))
    }
}
