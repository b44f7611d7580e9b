//! Rows of what sandboxes were not let out to.

use glass_types::SandboxId;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, TransactionTrait};

use crate::entity::egress_refusal::{ActiveModel, Column, Entity};
use crate::entity::sandbox;
use crate::{Millis, Store, StoreError};

/// Something that was not let out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRefusalRow {
    /// Order of arrival; 0 until it is written.
    pub number: i64,
    /// When.
    pub at: Millis,
    /// Who asked, where known.
    pub process: Option<String>,
    /// The host that was asked for.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What refused it.
    pub rule: String,
}

impl Store {
    /// Adds refusals of a sandbox, all or none, and forgets all of its but the newest `keep`. Those of a sandbox that is
    /// gone are forgotten, too.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn append_egress_refusals(
        &self,
        id: &SandboxId,
        rows: Vec<EgressRefusalRow>,
        keep: u64,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::query("write egress refusals");
        if rows.is_empty() {
            return Ok(());
        }
        let transaction = self.writer.begin().await.map_err(failed())?;
        let is_there = sandbox::Entity::find_by_id(id.as_str())
            .one(&transaction)
            .await
            .map_err(failed())?
            .is_some();
        if !is_there {
            return transaction.rollback().await.map_err(failed());
        }
        let models = rows.into_iter().map(|row| ActiveModel {
            number: NotSet,
            sandbox: Set(id.to_string()),
            at: Set(row.at),
            process: Set(row.process),
            host: Set(row.host),
            port: Set(i64::from(row.port)),
            rule: Set(row.rule),
        });
        Entity::insert_many(models)
            .exec(&transaction)
            .await
            .map_err(failed())?;
        let too_old: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Number)
            .filter(Column::Sandbox.eq(id.as_str()))
            .order_by_desc(Column::Number)
            .offset(keep)
            .limit(1)
            .into_tuple()
            .one(&transaction)
            .await
            .map_err(failed())?;
        if let Some(number) = too_old {
            Entity::delete_many()
                .filter(Column::Sandbox.eq(id.as_str()))
                .filter(Column::Number.lte(number))
                .exec(&transaction)
                .await
                .map_err(failed())?;
        }
        transaction.commit().await.map_err(failed())
    }

    /// At most `limit` refusals of a sandbox after the one with number `after`, in order.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn egress_refusals(
        &self,
        id: &SandboxId,
        after: i64,
        limit: u64,
    ) -> Result<Vec<EgressRefusalRow>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Sandbox.eq(id.as_str()))
            .filter(Column::Number.gt(after))
            .order_by_asc(Column::Number)
            .limit(limit)
            .all(&self.reader)
            .await
            .map_err(StoreError::query("read egress refusals"))?;
        Ok(rows
            .into_iter()
            .map(|row| EgressRefusalRow {
                number: row.number,
                at: row.at,
                process: row.process,
                host: row.host,
                port: u16::try_from(row.port).unwrap_or(0),
                rule: row.rule,
            })
            .collect())
    }
}
