use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub(crate) struct Model {
    /// Order of arrival.
    #[sea_orm(primary_key)]
    pub number: i64,
    #[sea_orm(unique)]
    pub id: String,
    pub sandbox: String,
    pub status: String,
    pub prompt: String,
    pub agent: String,
    pub model: String,
    pub process_key: Option<String>,
    pub cancel_requested: bool,
    pub result: Option<String>,
    pub error: Option<String>,
    pub created_at: i64,
    pub ended_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
