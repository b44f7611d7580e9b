//! Rows of templates.

use glass_types::SnapshotId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, IntoActiveModel, QueryOrder};

use crate::entity::template::{Column, Entity, Model};
use crate::{Millis, Store, StoreError, from_word};

/// A template as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The files its sandboxes begin with; those of the image unless given.
    pub snapshot: Option<SnapshotId>,
    /// The image below them.
    pub image: String,
    /// Manifest of its app (`glasshouse.yaml`).
    pub manifest: Option<String>,
    /// What its sandboxes have unless their owner wants otherwise, as JSON.
    pub defaults: String,
    /// Digest of what it was built from, when it was built from something.
    pub digest: Option<String>,
    /// When it was made.
    pub created_at: Millis,
}

impl TemplateRow {
    fn from_model(model: Model) -> Result<Self, StoreError> {
        Ok(Self {
            name: model.name,
            description: model.description,
            snapshot: model
                .snapshot
                .as_deref()
                .map(|id| from_word("template.snapshot", id))
                .transpose()?,
            image: model.image,
            manifest: model.manifest,
            defaults: model.defaults,
            digest: model.digest,
            created_at: model.created_at,
        })
    }

    fn to_model(&self) -> Model {
        Model {
            name: self.name.clone(),
            description: self.description.clone(),
            snapshot: self.snapshot.as_ref().map(ToString::to_string),
            image: self.image.clone(),
            manifest: self.manifest.clone(),
            defaults: self.defaults.clone(),
            digest: self.digest.clone(),
            created_at: self.created_at,
        }
    }
}

impl Store {
    /// Writes a template, in the place of one with the same name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_template(&self, row: &TemplateRow) -> Result<(), StoreError> {
        let replace = OnConflict::column(Column::Name)
            .update_columns([
                Column::Description,
                Column::Snapshot,
                Column::Image,
                Column::Manifest,
                Column::Defaults,
                Column::Digest,
                Column::CreatedAt,
            ])
            .to_owned();
        let insert = Entity::insert(row.to_model().into_active_model())
            .on_conflict(replace)
            .exec_without_returning(&self.writer)
            .await;
        insert
            .map(drop)
            .map_err(StoreError::query("write a template"))
    }

    /// The template of this name, if there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn template(&self, name: &str) -> Result<Option<TemplateRow>, StoreError> {
        let model = Entity::find_by_id(name)
            .one(&self.reader)
            .await
            .map_err(StoreError::query("read a template"))?;
        model.map(TemplateRow::from_model).transpose()
    }

    /// All templates, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn templates(&self) -> Result<Vec<TemplateRow>, StoreError> {
        let found = Entity::find()
            .order_by_asc(Column::Name)
            .all(&self.reader)
            .await;
        found
            .map_err(StoreError::query("list templates"))?
            .into_iter()
            .map(TemplateRow::from_model)
            .collect()
    }

    /// Removes a template. Answers whether there was one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_template(&self, name: &str) -> Result<bool, StoreError> {
        let delete = Entity::delete_by_id(name).exec(&self.writer).await;
        Ok(delete
            .map_err(StoreError::query("remove a template"))?
            .rows_affected
            == 1)
    }
}
