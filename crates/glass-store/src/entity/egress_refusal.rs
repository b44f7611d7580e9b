use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "egress_refusal")]
pub(crate) struct Model {
    /// Order of arrival.
    #[sea_orm(primary_key)]
    pub number: i64,
    pub sandbox: String,
    pub at: i64,
    pub process: Option<String>,
    pub host: String,
    pub port: i64,
    pub rule: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
