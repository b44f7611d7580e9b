//! Rows of snapshots.

use std::fmt;
use std::str::FromStr;

use glass_types::{RootMode, SandboxId, SnapshotId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use crate::entity::snapshot::{Column, Entity, Model};
use crate::{Millis, Store, StoreError, from_word};

/// Where a snapshot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotState {
    /// Its row exists; the files are being kept.
    Taking,
    /// It can be used.
    Ready,
    /// It is being removed.
    Deleting,
}

impl SnapshotState {
    const ALL: [Self; 3] = [Self::Taking, Self::Ready, Self::Deleting];

    /// The word for it, the same in API and table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Ready => "ready",
            Self::Deleting => "deleting",
        }
    }
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SnapshotState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a state of a snapshot"))
    }
}

/// A snapshot as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Its id.
    pub id: SnapshotId,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// Whose files it holds. That sandbox may be gone.
    pub sandbox: Option<SandboxId>,
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Name of the image below the files.
    pub image: String,
    /// Digest of that image's manifest.
    pub image_digest: String,
    /// Whether files outside of the home are among those kept.
    pub root: RootMode,
    /// Bytes of files. Blocks that it shares with others are counted for each.
    pub bytes: u64,
    /// When it was taken.
    pub created_at: Millis,
    /// When it may be removed; never unless given.
    pub expires_at: Option<Millis>,
}

impl SnapshotRow {
    fn from_model(model: Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: from_word("snapshot.id", &model.id)?,
            state: from_word("snapshot.state", &model.state)?,
            sandbox: model
                .sandbox
                .as_deref()
                .map(|id| from_word("snapshot.sandbox", id))
                .transpose()?,
            name: model.name,
            description: model.description,
            image: model.image,
            image_digest: model.image_digest,
            root: from_word("snapshot.root", &model.root)?,
            bytes: u64::try_from(model.bytes).map_err(|_| StoreError::Corrupt {
                what: "snapshot.bytes",
                value: model.bytes.to_string(),
            })?,
            created_at: model.created_at,
            expires_at: model.expires_at,
        })
    }

    fn to_model(&self) -> Model {
        Model {
            id: self.id.to_string(),
            state: self.state.to_string(),
            sandbox: self.sandbox.as_ref().map(ToString::to_string),
            name: self.name.clone(),
            description: self.description.clone(),
            image: self.image.clone(),
            image_digest: self.image_digest.clone(),
            root: self.root.to_string(),
            bytes: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Store {
    /// Writes the row of a new snapshot.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn insert_snapshot(&self, row: &SnapshotRow) -> Result<(), StoreError> {
        let insert = Entity::insert(row.to_model().into_active_model())
            .exec_without_returning(&self.writer)
            .await;
        insert
            .map(drop)
            .map_err(StoreError::query("write a snapshot"))
    }

    /// The row of a snapshot, if there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn snapshot(&self, id: &SnapshotId) -> Result<Option<SnapshotRow>, StoreError> {
        let model = Entity::find_by_id(id.as_str())
            .one(&self.reader)
            .await
            .map_err(StoreError::query("read a snapshot"))?;
        model.map(SnapshotRow::from_model).transpose()
    }

    /// All snapshots, or those of one sandbox, the newest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn snapshots(
        &self,
        sandbox: Option<&SandboxId>,
    ) -> Result<Vec<SnapshotRow>, StoreError> {
        let mut find = Entity::find();
        if let Some(sandbox) = sandbox {
            find = find.filter(Column::Sandbox.eq(sandbox.as_str()));
        }
        let found = find
            .order_by_desc(Column::CreatedAt)
            .order_by_asc(Column::Id)
            .all(&self.reader)
            .await;
        found
            .map_err(StoreError::query("list snapshots"))?
            .into_iter()
            .map(SnapshotRow::from_model)
            .collect()
    }

    /// Notes that a snapshot is there, and how large it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn snapshot_taken(&self, id: &SnapshotId, bytes: u64) -> Result<(), StoreError> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let update = Entity::update_many()
            .col_expr(Column::State, Expr::value(SnapshotState::Ready.as_str()))
            .col_expr(Column::Bytes, Expr::value(bytes))
            .filter(Column::Id.eq(id.as_str()))
            .filter(Column::State.eq(SnapshotState::Taking.as_str()))
            .exec(&self.writer)
            .await;
        update
            .map(drop)
            .map_err(StoreError::query("change a snapshot"))
    }

    /// Notes that a snapshot is going.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn snapshot_going(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let going = SnapshotState::Deleting.as_str();
        let update = Entity::update_many()
            .col_expr(Column::State, Expr::value(going))
            .filter(Column::Id.eq(id.as_str()))
            .exec(&self.writer)
            .await;
        update
            .map(drop)
            .map_err(StoreError::query("change a snapshot"))
    }

    /// Removes the row of a snapshot.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), StoreError> {
        let delete = Entity::delete_by_id(id.as_str()).exec(&self.writer).await;
        delete
            .map(drop)
            .map_err(StoreError::query("remove a snapshot"))
    }
}
