use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_run")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sandbox: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent: String,
    pub process_key: String,
    pub model: String,
    pub acp_session: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
