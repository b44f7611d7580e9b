use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub task: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Line of the agent's log that gave rise to it; none for the server's own events.
    pub line: Option<i64>,
    pub at: i64,
    pub body: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
