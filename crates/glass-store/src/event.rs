//! Rows of events: a task's log, numbered 1, 2, 3, … without a gap.

use glass_types::{Event, EventId, TaskId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, TransactionTrait,
};

use crate::entity::event::{Column, Entity, Model};
use crate::{Millis, Store, StoreError, from_json, to_json};

/// An event as the database knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Its number within the task.
    pub id: EventId,
    /// When it was stored.
    pub at: Millis,
    /// What happened.
    pub event: Event,
}

/// Adds events within a transaction of the one writer, so numbers are given out by one hand.
pub(crate) async fn append(
    transaction: &impl ConnectionTrait,
    task: &TaskId,
    line: Option<i64>,
    events: &[Event],
    at: Millis,
) -> Result<(), StoreError> {
    let failed = StoreError::query;
    let last: Option<Option<i64>> = Entity::find()
        .select_only()
        .column_as(Column::Id.max(), "last")
        .filter(Column::Task.eq(task.as_str()))
        .into_tuple()
        .one(transaction)
        .await
        .map_err(failed("number an event"))?;
    let first = last.flatten().unwrap_or(0) + 1;
    let rows = (first..).zip(events).map(|(id, event)| {
        let row = Model {
            task: task.to_string(),
            id,
            line,
            at,
            body: to_json(event),
        };
        row.into_active_model()
    });
    Entity::insert_many(rows)
        .exec(transaction)
        .await
        .map(drop)
        .map_err(failed("write events"))
}

impl Store {
    /// Adds events to a task's log, all or none.
    ///
    /// `line` is the line of the agent's log that gave rise to them. Events of a line that is not newer than the last
    /// stored one are there already and are not written again.
    ///
    /// # Errors
    /// When the database refuses; then none is written.
    pub async fn append_events(
        &self,
        task: &TaskId,
        line: Option<u64>,
        events: &[Event],
        at: Millis,
    ) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let failed = StoreError::query;
        let line = line.map(|line| i64::try_from(line).unwrap_or(i64::MAX));
        let transaction = self.writer.begin().await.map_err(failed("write events"))?;
        if line.is_some() && last_line(&transaction, task).await? >= line {
            return transaction.rollback().await.map_err(failed("write events"));
        }
        append(&transaction, task, line, events, at).await?;
        transaction.commit().await.map_err(failed("write events"))
    }

    /// The last line of the agent's log whose events are stored; 0 when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn last_line(&self, task: &TaskId) -> Result<u64, StoreError> {
        let line = last_line(&self.reader, task).await?.unwrap_or(0);
        Ok(u64::try_from(line).unwrap_or(0))
    }

    /// At most `limit` events of a task after the one with number `after`, in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn events(
        &self,
        task: &TaskId,
        after: EventId,
        limit: u64,
    ) -> Result<Vec<EventRow>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Task.eq(task.as_str()))
            .filter(Column::Id.gt(i64::try_from(after).unwrap_or(i64::MAX)))
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .map_err(StoreError::query("read events"))?;
        rows.into_iter()
            .map(|row| {
                Ok(EventRow {
                    id: u64::try_from(row.id).unwrap_or(0),
                    at: row.at,
                    event: from_json("event.body", &row.body)?,
                })
            })
            .collect()
    }
}

async fn last_line(
    connection: &impl ConnectionTrait,
    task: &TaskId,
) -> Result<Option<i64>, StoreError> {
    let line: Option<Option<i64>> = Entity::find()
        .select_only()
        .column_as(Column::Line.max(), "last")
        .filter(Column::Task.eq(task.as_str()))
        .into_tuple()
        .one(connection)
        .await
        .map_err(StoreError::query("read events"))?;
    Ok(line.flatten())
}
