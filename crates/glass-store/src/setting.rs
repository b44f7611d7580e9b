//! What an operator has set while the server ran: JSON by name.

use std::collections::BTreeMap;

use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::Value;

use crate::entity::setting::{Column, Entity, Model};
use crate::{Store, StoreError, from_json, to_json};

impl Store {
    /// All settings that were ever set.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn settings(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        let rows = Entity::find()
            .all(&self.reader)
            .await
            .map_err(StoreError::query("read the settings"))?;
        rows.into_iter()
            .map(|row| Ok((row.name, from_json("setting.value", &row.value)?)))
            .collect()
    }

    /// Writes settings over those with the same names, all or none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_settings(&self, settings: &BTreeMap<String, Value>) -> Result<(), StoreError> {
        if settings.is_empty() {
            return Ok(());
        }
        let rows = settings.iter().map(|(name, value)| {
            let model = Model {
                name: name.clone(),
                value: to_json(value),
            };
            model.into_active_model()
        });
        let replace = OnConflict::column(Column::Name)
            .update_column(Column::Value)
            .to_owned();
        Entity::insert_many(rows)
            .on_conflict(replace)
            .exec_without_returning(&self.writer)
            .await
            .map(drop)
            .map_err(StoreError::query("write settings"))
    }
}
