use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sandbox")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub state: String,
    pub reason: Option<String>,
    pub image: String,
    pub image_digest: String,
    pub env: String,
    pub labels: String,
    pub memory_bytes: i64,
    pub cpu_millis: i64,
    pub pids: i64,
    pub disk_bytes: i64,
    pub ports: String,
    pub gateway_token: String,
    pub created_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
