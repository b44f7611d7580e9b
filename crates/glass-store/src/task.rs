//! Rows of tasks.

use glass_types::{Event, SandboxId, TaskId, TaskState};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, NotSet, QueryFilter, QueryOrder, TransactionTrait,
};

use crate::entity::task::{Column, Entity, Model};
use crate::{Millis, Store, StoreError, event, from_word};

/// A task as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// Its sandbox.
    pub sandbox: SandboxId,
    /// Where it is.
    pub status: TaskState,
    /// What the agent is to do.
    pub prompt: String,
    /// Which agent.
    pub agent: String,
    /// Which model.
    pub model: String,
    /// The agent process that works on it, once one does.
    pub process_key: Option<String>,
    /// Whether somebody asked to end it.
    pub cancel_requested: bool,
    /// What the agent said last, once it has ended.
    pub result: Option<String>,
    /// Why it failed, when it did.
    pub error: Option<String>,
    /// When it was given.
    pub created_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
}

const OPEN: [&str; 2] = ["queued", "running"];

impl TaskRow {
    fn from_model(model: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: from_word("task.id", &model.id)?,
            sandbox: from_word("task.sandbox", &model.sandbox)?,
            status: from_word("task.status", &model.status)?,
            prompt: model.prompt,
            agent: model.agent,
            model: model.model,
            process_key: model.process_key,
            cancel_requested: model.cancel_requested,
            result: model.result,
            error: model.error,
            created_at: model.created_at,
            ended_at: model.ended_at,
        })
    }
}

impl Store {
    /// Writes a new task.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_task(&self, row: &TaskRow) -> Result<(), StoreError> {
        let model = Model {
            number: 0,
            id: row.id.to_string(),
            sandbox: row.sandbox.to_string(),
            status: row.status.to_string(),
            prompt: row.prompt.clone(),
            agent: row.agent.clone(),
            model: row.model.clone(),
            process_key: row.process_key.clone(),
            cancel_requested: row.cancel_requested,
            result: row.result.clone(),
            error: row.error.clone(),
            created_at: row.created_at,
            ended_at: row.ended_at,
        };
        let mut active = model.into_active_model();
        active.number = NotSet;
        // See `lib.rs` for why nothing is returned.
        Entity::insert(active)
            .exec_without_returning(&self.writer)
            .await
            .map(drop)
            .map_err(StoreError::query("write a task"))
    }

    /// A task, if there is one with this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskRow>, StoreError> {
        let find = Entity::find()
            .filter(Column::Id.eq(id.as_str()))
            .one(&self.reader)
            .await;
        find.map_err(StoreError::query("read a task"))?
            .map(TaskRow::from_model)
            .transpose()
    }

    /// The tasks of a sandbox, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn tasks_of(&self, sandbox: &SandboxId) -> Result<Vec<TaskRow>, StoreError> {
        let find = Entity::find()
            .filter(Column::Sandbox.eq(sandbox.as_str()))
            .order_by_desc(Column::Number)
            .all(&self.reader)
            .await;
        find.map_err(StoreError::query("list tasks"))?
            .into_iter()
            .map(TaskRow::from_model)
            .collect()
    }

    /// The newest task of a sandbox, if it has one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn last_task_of(&self, sandbox: &SandboxId) -> Result<Option<TaskRow>, StoreError> {
        let find = Entity::find()
            .filter(Column::Sandbox.eq(sandbox.as_str()))
            .order_by_desc(Column::Number)
            .one(&self.reader)
            .await;
        find.map_err(StoreError::query("read a task"))?
            .map(TaskRow::from_model)
            .transpose()
    }

    /// The open tasks of a sandbox, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open_tasks_of(&self, sandbox: &SandboxId) -> Result<Vec<TaskRow>, StoreError> {
        let find = Entity::find()
            .filter(Column::Sandbox.eq(sandbox.as_str()))
            .filter(Column::Status.is_in(OPEN))
            .order_by_asc(Column::Number)
            .all(&self.reader)
            .await;
        find.map_err(StoreError::query("list tasks"))?
            .into_iter()
            .map(TaskRow::from_model)
            .collect()
    }

    /// Sandboxes that have open tasks.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sandboxes_with_open_tasks(&self) -> Result<Vec<SandboxId>, StoreError> {
        let find = Entity::find()
            .filter(Column::Status.is_in(OPEN))
            .order_by_asc(Column::Number)
            .all(&self.reader)
            .await;
        let mut ids: Vec<SandboxId> = Vec::new();
        for model in find.map_err(StoreError::query("list tasks"))? {
            let id = from_word("task.sandbox", &model.sandbox)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Notes which agent process works on a task that is open.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn start_task(&self, id: &TaskId, process_key: &str) -> Result<(), StoreError> {
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(TaskState::Running.as_str()))
            .col_expr(Column::ProcessKey, Expr::value(process_key))
            .filter(Column::Id.eq(id.as_str()))
            .filter(Column::Status.is_in(OPEN))
            .exec(&self.writer)
            .await;
        update.map(drop).map_err(StoreError::query("start a task"))
    }

    /// Notes that somebody wants an open task to end. Answers whether it was open.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn request_cancel(&self, id: &TaskId) -> Result<bool, StoreError> {
        let update = Entity::update_many()
            .col_expr(Column::CancelRequested, Expr::value(true))
            .filter(Column::Id.eq(id.as_str()))
            .filter(Column::Status.is_in(OPEN))
            .exec(&self.writer)
            .await;
        Ok(update
            .map_err(StoreError::query("cancel a task"))?
            .rows_affected
            == 1)
    }

    /// Ends an open task. `event` is its last event when the agent's log does not hold one. Answers whether it was
    /// open.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn finish_task(
        &self,
        id: &TaskId,
        status: TaskState,
        result: Option<&str>,
        error: Option<&str>,
        event: Option<&Event>,
        at: Millis,
    ) -> Result<bool, StoreError> {
        let failed = StoreError::query;
        let transaction = self.writer.begin().await.map_err(failed("end a task"))?;
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(status.as_str()))
            .col_expr(Column::Result, Expr::value(result.map(str::to_owned)))
            .col_expr(Column::Error, Expr::value(error.map(str::to_owned)))
            .col_expr(Column::EndedAt, Expr::value(at))
            .filter(Column::Id.eq(id.as_str()))
            .filter(Column::Status.is_in(OPEN))
            .exec(&transaction)
            .await
            .map_err(failed("end a task"))?;
        let was_open = update.rows_affected == 1;
        if let Some(event) = event.filter(|_| was_open) {
            event::append(&transaction, id, None, std::slice::from_ref(event), at).await?;
        }
        transaction.commit().await.map_err(failed("end a task"))?;
        Ok(was_open)
    }
}
