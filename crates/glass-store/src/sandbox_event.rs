//! What happened to a sandbox, for its owner: rows that are numbered over all sandboxes, in the order of writing.

use glass_types::SandboxId;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    TransactionTrait,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::entity::sandbox_event::{ActiveModel, Column, Entity, Model};
use crate::{Millis, Store, StoreError, from_json, from_word, to_json};

/// How many are kept of each sandbox. The oldest go.
const KEPT: u64 = 1000;

/// Something that happened to a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSandboxEvent {
    /// What, as a word: `died`, `restarted`, `app_crashed`, …
    pub kind: &'static str,
    /// What there is to say of it.
    pub data: Value,
    /// When.
    pub at: Millis,
}

/// Something that happened to a sandbox, as the database knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxEventRow {
    /// Grows from event to event.
    pub number: u64,
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// When.
    pub at: Millis,
    /// What, as a word.
    pub kind: String,
    /// What there is to say of it.
    pub data: Value,
}

impl SandboxEventRow {
    fn from_model(model: Model) -> Result<Self, StoreError> {
        Ok(Self {
            number: u64::try_from(model.number).unwrap_or(0),
            sandbox: from_word("sandbox_event.sandbox", &model.sandbox)?,
            at: model.at,
            kind: model.kind,
            data: from_json("sandbox_event.data", &model.data)?,
        })
    }
}

/// Adds an event within a transaction, and removes what is too old.
pub(crate) async fn append(
    transaction: &impl ConnectionTrait,
    sandbox: &SandboxId,
    event: &NewSandboxEvent,
) -> Result<(), StoreError> {
    let failed = StoreError::query;
    let row = ActiveModel {
        number: NotSet,
        sandbox: Set(sandbox.to_string()),
        at: Set(event.at),
        kind: Set(event.kind.to_owned()),
        data: Set(to_json(&event.data)),
    };
    Entity::insert(row)
        .exec_without_returning(transaction)
        .await
        .map_err(failed("write an event of a sandbox"))?;
    let too_old: Option<i64> = Entity::find()
        .select_only()
        .column(Column::Number)
        .filter(Column::Sandbox.eq(sandbox.as_str()))
        .order_by_desc(Column::Number)
        .offset(KEPT)
        .into_tuple()
        .one(transaction)
        .await
        .map_err(failed("count the events of a sandbox"))?;
    if let Some(number) = too_old {
        Entity::delete_many()
            .filter(Column::Sandbox.eq(sandbox.as_str()))
            .filter(Column::Number.lte(number))
            .exec(transaction)
            .await
            .map_err(failed("remove old events of a sandbox"))?;
    }
    Ok(())
}

impl Store {
    /// Adds an event to those of a sandbox.
    ///
    /// # Errors
    /// When the database refuses, also because there is no such sandbox.
    pub async fn append_sandbox_event(
        &self,
        sandbox: &SandboxId,
        event: &NewSandboxEvent,
    ) -> Result<(), StoreError> {
        let failed = StoreError::query;
        let transaction = self
            .writer
            .begin()
            .await
            .map_err(failed("write an event of a sandbox"))?;
        append(&transaction, sandbox, event).await?;
        transaction
            .commit()
            .await
            .map_err(failed("write an event of a sandbox"))?;
        self.sandbox_events_changed();
        Ok(())
    }

    /// The same, unless the last event of this kind says that it was noted before. Says whether it was noted now.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn append_sandbox_event_unless(
        &self,
        sandbox: &SandboxId,
        event: &NewSandboxEvent,
        was_noted: impl FnOnce(&SandboxEventRow) -> bool + Send,
    ) -> Result<bool, StoreError> {
        let failed = |source| StoreError::query("write an event of a sandbox")(source);
        let transaction = self.writer.begin().await.map_err(failed)?;
        let last = last(&transaction, sandbox, event.kind).await?;
        if last.as_ref().is_some_and(was_noted) {
            transaction.rollback().await.map_err(failed)?;
            return Ok(false);
        }
        append(&transaction, sandbox, event).await?;
        transaction.commit().await.map_err(failed)?;
        self.sandbox_events_changed();
        Ok(true)
    }

    /// The last event of one kind.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn last_sandbox_event(
        &self,
        sandbox: &SandboxId,
        kind: &str,
    ) -> Result<Option<SandboxEventRow>, StoreError> {
        last(&self.reader, sandbox, kind).await
    }

    /// Changes whenever an event of any sandbox has been written, or a sandbox has been removed.
    #[must_use]
    pub fn watch_sandbox_events(&self) -> watch::Receiver<u64> {
        self.sandbox_events.subscribe()
    }

    pub(crate) fn sandbox_events_changed(&self) {
        self.sandbox_events.send_modify(|count| *count += 1);
    }

    /// At most `limit` events of a sandbox after the one with number `after`, in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sandbox_events(
        &self,
        sandbox: &SandboxId,
        after: u64,
        limit: u64,
    ) -> Result<Vec<SandboxEventRow>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Sandbox.eq(sandbox.as_str()))
            .filter(Column::Number.gt(i64::try_from(after).unwrap_or(i64::MAX)))
            .order_by_asc(Column::Number)
            .limit(limit)
            .all(&self.reader)
            .await
            .map_err(StoreError::query("read the events of a sandbox"))?;
        rows.into_iter().map(SandboxEventRow::from_model).collect()
    }
}

async fn last(
    connection: &impl ConnectionTrait,
    sandbox: &SandboxId,
    kind: &str,
) -> Result<Option<SandboxEventRow>, StoreError> {
    let model = Entity::find()
        .filter(Column::Sandbox.eq(sandbox.as_str()))
        .filter(Column::Kind.eq(kind))
        .order_by_desc(Column::Number)
        .one(connection)
        .await
        .map_err(StoreError::query("read the events of a sandbox"))?;
    model.map(SandboxEventRow::from_model).transpose()
}
