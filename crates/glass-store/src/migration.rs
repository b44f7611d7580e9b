//! The schema, as the steps that lead to it. A step that has landed is never changed; a new one follows it.

use sea_orm_migration::prelude::*;

mod m0001_first_path;
mod m0002_lifecycle;

pub(crate) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_first_path::Migration),
            Box::new(m0002_lifecycle::Migration),
        ]
    }
}
