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
    /// Counts the processes of this agent in this sandbox: 1, 2, 3, …
    pub generation: u32,
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
        model
            .map(|model| {
                Ok(AgentRunRow {
                    sandbox: sandbox.clone(),
                    agent: model.agent,
                    generation: u32::try_from(model.generation).map_err(|_| {
                        StoreError::Corrupt {
                            what: "agent_run.generation",
                            value: model.generation.to_string(),
                        }
                    })?,
                    model: model.model,
                    acp_session: model.acp_session,
                })
            })
            .transpose()
    }

    /// Writes the present process of an agent in a sandbox over the one before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_agent_run(&self, row: &AgentRunRow) -> Result<(), StoreError> {
        let model = Model {
            sandbox: row.sandbox.to_string(),
            agent: row.agent.clone(),
            generation: i64::from(row.generation),
            model: row.model.clone(),
            acp_session: row.acp_session.clone(),
        };
        let replace = OnConflict::columns([Column::Sandbox, Column::Agent])
            .update_columns([Column::Generation, Column::Model, Column::AcpSession])
            .to_owned();
        let insert = Entity::insert(model.into_active_model())
            .on_conflict(replace)
            .exec(&self.writer)
            .await;
        insert
            .map(drop)
            .map_err(StoreError::query("write an agent run"))
    }
}
