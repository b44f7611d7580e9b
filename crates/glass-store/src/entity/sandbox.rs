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
    pub cpu_weight: i64,
    pub open_files: i64,
    pub network_bytes_per_second: i64,
    pub template: Option<String>,
    pub from_snapshot: Option<String>,
    pub root: String,
    pub isolation: String,
    pub visibility: String,
    pub idle: String,
    pub egress: Option<String>,
    pub keepalive_until: Option<i64>,
    pub last_used_at: i64,
    pub memory_used: Option<i64>,
    pub archive: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
