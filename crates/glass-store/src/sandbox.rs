//! Rows of sandboxes.

use std::collections::BTreeMap;

use glass_types::{
    IdleWish, Isolation, Limits, RootMode, SandboxId, SandboxState, SnapshotId, Visibility,
};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    TransactionTrait,
};

use crate::entity::sandbox::{Column, Entity, Model};
use crate::sandbox_event::{self, NewSandboxEvent};
use crate::{Millis, Store, StoreError, from_json, from_word, to_json};

/// A sandbox as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxRow {
    /// Its id.
    pub id: SandboxId,
    /// Where it is in its life.
    pub state: SandboxState,
    /// Why it failed, when it did.
    pub reason: Option<String>,
    /// Name of its image.
    pub image: String,
    /// Digest of the manifest that the name stood for when the sandbox was made.
    pub image_digest: String,
    /// Its environment, without the image's.
    pub env: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its limits.
    pub limits: Limits,
    /// Ports that were asked for at creation.
    pub ports: Vec<u16>,
    /// The token by which its agents speak to the gateway. Worth nothing anywhere else.
    pub gateway_token: String,
    /// When it was made.
    pub created_at: Millis,
    /// Name of the template it was made from.
    pub template: Option<String>,
    /// The snapshot its files began with.
    pub from_snapshot: Option<SnapshotId>,
    /// What becomes of files outside of its home.
    pub root: RootMode,
    /// What stands between it and the host's kernel.
    pub isolation: Isolation,
    /// Who may see its previews.
    pub visibility: Visibility,
    /// What its owner wants of the idle policy.
    pub idle: IdleWish,
    /// Its egress policy as JSON; the server's unless given.
    pub egress: Option<String>,
    /// It does not rest before.
    pub keepalive_until: Option<Millis>,
    /// When it was used last, as far as the database was told.
    pub last_used_at: Millis,
    /// Bytes of memory that it used when it was last looked at.
    pub memory_used: Option<u64>,
    /// What the archive calls its files, when they are there.
    pub archive: Option<String>,
}

/// A move of a sandbox from one state to another, with what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// The state it is in.
    pub from: SandboxState,
    /// The state it is in then.
    pub to: SandboxState,
    /// Why it failed, when it did.
    pub reason: Option<String>,
    /// When it was used last; left alone unless given.
    pub last_used_at: Option<Millis>,
    /// What becomes of the name of its files in the archive.
    pub archive: ArchiveChange,
    /// What its owner is told.
    pub event: Option<NewSandboxEvent>,
}

/// What becomes of the name of a sandbox's files in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveChange {
    /// Nothing.
    None,
    /// They have this name now.
    Set(String),
    /// They are not there.
    Clear,
}

impl Shift {
    /// The mere move.
    #[must_use]
    pub fn new(from: SandboxState, to: SandboxState) -> Self {
        Self {
            from,
            to,
            reason: None,
            last_used_at: None,
            archive: ArchiveChange::None,
            event: None,
        }
    }

    /// The same with why it failed.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self
        }
    }

    /// The same with what its owner is told.
    #[must_use]
    pub fn telling(self, event: NewSandboxEvent) -> Self {
        Self {
            event: Some(event),
            ..self
        }
    }
}

impl SandboxRow {
    /// The row of a sandbox that is about to be made, without anybody's wishes.
    #[must_use]
    pub fn fresh(image: String, image_digest: String, gateway_token: String, now: Millis) -> Self {
        Self {
            id: SandboxId::random(),
            state: SandboxState::Creating,
            reason: None,
            image,
            image_digest,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            limits: Limits::default(),
            ports: Vec::new(),
            gateway_token,
            created_at: now,
            template: None,
            from_snapshot: None,
            root: RootMode::default(),
            isolation: Isolation::default(),
            visibility: Visibility::default(),
            idle: IdleWish::default(),
            egress: None,
            keepalive_until: None,
            last_used_at: now,
            memory_used: None,
            archive: None,
        }
    }

    fn from_model(model: Model) -> Result<Self, StoreError> {
        let number = |what, value: i64| {
            u64::try_from(value).map_err(|_| StoreError::Corrupt {
                what,
                value: value.to_string(),
            })
        };
        let small = |what, value: i64| {
            u32::try_from(value).map_err(|_| StoreError::Corrupt {
                what,
                value: value.to_string(),
            })
        };
        Ok(Self {
            id: from_word("sandbox.id", &model.id)?,
            state: from_word("sandbox.state", &model.state)?,
            reason: model.reason,
            image: model.image,
            image_digest: model.image_digest,
            env: from_json("sandbox.env", &model.env)?,
            labels: from_json("sandbox.labels", &model.labels)?,
            limits: Limits {
                memory_bytes: number("sandbox.memory_bytes", model.memory_bytes)?,
                cpu_millis: small("sandbox.cpu_millis", model.cpu_millis)?,
                pids: small("sandbox.pids", model.pids)?,
                disk_bytes: number("sandbox.disk_bytes", model.disk_bytes)?,
                cpu_weight: small("sandbox.cpu_weight", model.cpu_weight)?,
                open_files: small("sandbox.open_files", model.open_files)?,
                network_bytes_per_second: number(
                    "sandbox.network_bytes_per_second",
                    model.network_bytes_per_second,
                )?,
            },
            ports: from_json("sandbox.ports", &model.ports)?,
            gateway_token: model.gateway_token,
            created_at: model.created_at,
            template: model.template,
            from_snapshot: model
                .from_snapshot
                .as_deref()
                .map(|id| from_word("sandbox.from_snapshot", id))
                .transpose()?,
            root: from_word("sandbox.root", &model.root)?,
            isolation: from_word("sandbox.isolation", &model.isolation)?,
            visibility: from_word("sandbox.visibility", &model.visibility)?,
            idle: from_json("sandbox.idle", &model.idle)?,
            egress: model.egress,
            keepalive_until: model.keepalive_until,
            last_used_at: model.last_used_at,
            memory_used: model
                .memory_used
                .map(|bytes| number("sandbox.memory_used", bytes))
                .transpose()?,
            archive: model.archive,
        })
    }

    fn to_model(&self) -> Model {
        Model {
            id: self.id.to_string(),
            state: self.state.to_string(),
            reason: self.reason.clone(),
            image: self.image.clone(),
            image_digest: self.image_digest.clone(),
            env: to_json(&self.env),
            labels: to_json(&self.labels),
            memory_bytes: i64::try_from(self.limits.memory_bytes).unwrap_or(i64::MAX),
            cpu_millis: i64::from(self.limits.cpu_millis),
            pids: i64::from(self.limits.pids),
            disk_bytes: i64::try_from(self.limits.disk_bytes).unwrap_or(i64::MAX),
            ports: to_json(&self.ports),
            gateway_token: self.gateway_token.clone(),
            created_at: self.created_at,
            cpu_weight: i64::from(self.limits.cpu_weight),
            open_files: i64::from(self.limits.open_files),
            network_bytes_per_second: i64::try_from(self.limits.network_bytes_per_second)
                .unwrap_or(i64::MAX),
            template: self.template.clone(),
            from_snapshot: self.from_snapshot.as_ref().map(ToString::to_string),
            root: self.root.to_string(),
            isolation: self.isolation.to_string(),
            visibility: self.visibility.to_string(),
            idle: to_json(&self.idle),
            egress: self.egress.clone(),
            keepalive_until: self.keepalive_until,
            last_used_at: self.last_used_at,
            memory_used: self
                .memory_used
                .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            archive: self.archive.clone(),
        }
    }
}

impl Store {
    /// Writes the row of a new sandbox.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_sandbox(&self, row: &SandboxRow) -> Result<(), StoreError> {
        // See `lib.rs` for why nothing is returned.
        let insert = Entity::insert(row.to_model().into_active_model())
            .exec_without_returning(&self.writer)
            .await;
        insert
            .map(drop)
            .map_err(StoreError::query("write a sandbox"))
    }

    /// The row of a sandbox, if there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sandbox(&self, id: &SandboxId) -> Result<Option<SandboxRow>, StoreError> {
        let model = Entity::find_by_id(id.as_str())
            .one(&self.reader)
            .await
            .map_err(StoreError::query("read a sandbox"))?;
        model.map(SandboxRow::from_model).transpose()
    }

    /// The sandbox that holds this gateway token, if one does.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sandbox_by_token(&self, token: &str) -> Result<Option<SandboxRow>, StoreError> {
        let find = Entity::find()
            .filter(Column::GatewayToken.eq(token))
            .one(&self.reader)
            .await;
        find.map_err(StoreError::query("read a sandbox"))?
            .map(SandboxRow::from_model)
            .transpose()
    }

    /// All sandboxes, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn sandboxes(&self) -> Result<Vec<SandboxRow>, StoreError> {
        let find = Entity::find()
            .order_by_desc(Column::CreatedAt)
            .order_by_asc(Column::Id)
            .all(&self.reader)
            .await;
        find.map_err(StoreError::query("list sandboxes"))?
            .into_iter()
            .map(SandboxRow::from_model)
            .collect()
    }

    /// Moves a sandbox from one state to another, if it still is in the first, and notes what goes with it. Answers
    /// whether it was.
    ///
    /// # Errors
    /// When the database refuses; then nothing is written.
    pub async fn shift_sandbox(&self, id: &SandboxId, shift: &Shift) -> Result<bool, StoreError> {
        let failed = StoreError::query;
        let transaction = self
            .writer
            .begin()
            .await
            .map_err(failed("change a sandbox"))?;
        let mut update = Entity::update_many()
            .col_expr(Column::State, Expr::value(shift.to.as_str()))
            .col_expr(Column::Reason, Expr::value(shift.reason.clone()));
        if let Some(used) = shift.last_used_at {
            update = update.col_expr(Column::LastUsedAt, Expr::value(used));
        }
        update = match &shift.archive {
            ArchiveChange::None => update,
            ArchiveChange::Set(archive) => {
                update.col_expr(Column::Archive, Expr::value(archive.clone()))
            }
            ArchiveChange::Clear => {
                update.col_expr(Column::Archive, Expr::value(Option::<String>::None))
            }
        };
        let update = update
            .filter(Column::Id.eq(id.as_str()))
            .filter(Column::State.eq(shift.from.as_str()))
            .exec(&transaction)
            .await
            .map_err(failed("change a sandbox"))?;
        let was = update.rows_affected == 1;
        if was && let Some(event) = &shift.event {
            sandbox_event::append(&transaction, id, event).await?;
        }
        transaction
            .commit()
            .await
            .map_err(failed("change a sandbox"))?;
        if was && shift.event.is_some() {
            self.sandbox_events_changed();
        }
        Ok(was)
    }

    /// Changes what may be changed of a sandbox at any time: labels, limits, visibility, idle policy, keepalive and
    /// egress. Answers the row as it is then, if there is one.
    ///
    /// # Errors
    /// When the database refuses; then nothing is written.
    pub async fn edit_sandbox(
        &self,
        id: &SandboxId,
        edit: impl FnOnce(&mut SandboxRow),
    ) -> Result<Option<SandboxRow>, StoreError> {
        let failed = StoreError::query;
        // The one writer: nobody else writes between the reading and the writing.
        let transaction = self
            .writer
            .begin()
            .await
            .map_err(failed("change a sandbox"))?;
        let model = Entity::find_by_id(id.as_str())
            .one(&transaction)
            .await
            .map_err(failed("read a sandbox"))?;
        let Some(mut row) = model.map(SandboxRow::from_model).transpose()? else {
            return Ok(None);
        };
        edit(&mut row);
        let model = row.to_model();
        Entity::update_many()
            .col_expr(Column::Labels, Expr::value(model.labels))
            .col_expr(Column::MemoryBytes, Expr::value(model.memory_bytes))
            .col_expr(Column::CpuMillis, Expr::value(model.cpu_millis))
            .col_expr(Column::Pids, Expr::value(model.pids))
            .col_expr(Column::CpuWeight, Expr::value(model.cpu_weight))
            .col_expr(Column::OpenFiles, Expr::value(model.open_files))
            .col_expr(
                Column::NetworkBytesPerSecond,
                Expr::value(model.network_bytes_per_second),
            )
            .col_expr(Column::Visibility, Expr::value(model.visibility))
            .col_expr(Column::Idle, Expr::value(model.idle))
            .col_expr(Column::KeepaliveUntil, Expr::value(model.keepalive_until))
            .col_expr(Column::Egress, Expr::value(model.egress))
            .filter(Column::Id.eq(id.as_str()))
            .exec(&transaction)
            .await
            .map_err(failed("change a sandbox"))?;
        transaction
            .commit()
            .await
            .map_err(failed("change a sandbox"))?;
        Ok(Some(row))
    }

    /// Notes when sandboxes were used last, all at once.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_uses(&self, uses: &[(SandboxId, Millis)]) -> Result<(), StoreError> {
        let failed = StoreError::query;
        let transaction = self.writer.begin().await.map_err(failed("note uses"))?;
        for (id, at) in uses {
            Entity::update_many()
                .col_expr(Column::LastUsedAt, Expr::value(*at))
                .filter(Column::Id.eq(id.as_str()))
                .exec(&transaction)
                .await
                .map_err(failed("note uses"))?;
        }
        transaction.commit().await.map_err(failed("note uses"))
    }

    /// Notes how many bytes of memory a sandbox used.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_memory(&self, id: &SandboxId, bytes: u64) -> Result<(), StoreError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let update = Entity::update_many()
            .col_expr(Column::MemoryUsed, Expr::value(bytes))
            .filter(Column::Id.eq(id.as_str()))
            .exec(&self.writer)
            .await;
        update
            .map(drop)
            .map_err(StoreError::query("change a sandbox"))
    }

    /// Bytes of memory that sandboxes of a template (or of none) have used on average, if any was looked at.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn typical_memory(&self, template: Option<&str>) -> Result<Option<u64>, StoreError> {
        let same = match template {
            Some(template) => Column::Template.eq(template),
            None => Column::Template.is_null(),
        };
        let average: Option<Option<f64>> = Entity::find()
            .select_only()
            .expr(Expr::col(Column::MemoryUsed).avg())
            .filter(same)
            .into_tuple()
            .one(&self.reader)
            .await
            .map_err(StoreError::query("read what sandboxes used"))?;
        Ok(average.flatten().map(whole))
    }

    /// Removes the row of a sandbox with its tasks and events. Answers whether there was one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_sandbox(&self, id: &SandboxId) -> Result<bool, StoreError> {
        let delete = Entity::delete_by_id(id.as_str()).exec(&self.writer).await;
        // Its events are gone, too: who follows them looks again.
        self.sandbox_events_changed();
        Ok(delete
            .map_err(StoreError::query("remove a sandbox"))?
            .rows_affected
            == 1)
    }
}

/// An average of bytes as bytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an average of what was not negative, and far from the largest; a fraction of a byte is none"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}
