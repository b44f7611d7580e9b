//! What a sandbox's life needs: policies, snapshots, templates, settings, what happened to it and what was refused.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature elides it, and naming it would differ"
)]

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, pk_auto, string, string_null, text, text_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_lifecycle"
    }
}

#[derive(DeriveIden)]
enum Sandbox {
    Table,
    Id,
    State,
    CpuWeight,
    OpenFiles,
    NetworkBytesPerSecond,
    Template,
    FromSnapshot,
    Root,
    Isolation,
    Visibility,
    Idle,
    Egress,
    KeepaliveUntil,
    LastUsedAt,
    MemoryUsed,
    Archive,
}

#[derive(DeriveIden)]
enum Snapshot {
    Table,
    Id,
    State,
    Sandbox,
    Name,
    Description,
    Image,
    ImageDigest,
    Root,
    Bytes,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum Template {
    Table,
    Name,
    Description,
    Snapshot,
    Image,
    Manifest,
    Defaults,
    Digest,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Setting {
    Table,
    Name,
    Value,
}

#[derive(DeriveIden)]
enum SandboxEvent {
    Table,
    Number,
    Sandbox,
    At,
    Kind,
    Data,
}

#[derive(DeriveIden)]
enum EgressRefusal {
    Table,
    Number,
    Sandbox,
    At,
    Process,
    Host,
    Port,
    Rule,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for column in sandbox_columns() {
            manager
                .alter_table(
                    Table::alter()
                        .table(Sandbox::Table)
                        .add_column(column)
                        .to_owned(),
                )
                .await?;
        }
        manager.create_table(snapshot()).await?;
        manager.create_table(template()).await?;
        manager.create_table(setting()).await?;
        manager.create_table(sandbox_event()).await?;
        manager.create_table(egress_refusal()).await?;
        for index in [
            index("sandbox_by_state", Sandbox::Table, Sandbox::State),
            index(
                "sandbox_event_by_sandbox",
                SandboxEvent::Table,
                SandboxEvent::Sandbox,
            ),
            index(
                "egress_refusal_by_sandbox",
                EgressRefusal::Table,
                EgressRefusal::Sandbox,
            ),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn sandbox_columns() -> Vec<ColumnDef> {
    vec![
        big_integer(Sandbox::CpuWeight).default(100).take(),
        big_integer(Sandbox::OpenFiles).default(65_536).take(),
        big_integer(Sandbox::NetworkBytesPerSecond)
            .default(64 << 20)
            .take(),
        string_null(Sandbox::Template),
        string_null(Sandbox::FromSnapshot),
        string(Sandbox::Root).default("throw-away").take(),
        string(Sandbox::Isolation).default("container").take(),
        string(Sandbox::Visibility).default("public").take(),
        text(Sandbox::Idle).default("{}").take(),
        text_null(Sandbox::Egress),
        big_integer_null(Sandbox::KeepaliveUntil),
        big_integer(Sandbox::LastUsedAt).default(0).take(),
        big_integer_null(Sandbox::MemoryUsed),
        text_null(Sandbox::Archive),
    ]
}

fn index(
    name: &str,
    table: impl IntoIden + 'static,
    column: impl IntoIden + 'static,
) -> IndexCreateStatement {
    Index::create()
        .name(name)
        .table(table.into_iden())
        .col(column.into_iden())
        .to_owned()
}

/// Belongs to nobody: its sandbox may be gone.
fn snapshot() -> TableCreateStatement {
    Table::create()
        .table(Snapshot::Table)
        .col(string(Snapshot::Id).primary_key())
        .col(string(Snapshot::State))
        .col(string_null(Snapshot::Sandbox))
        .col(string_null(Snapshot::Name))
        .col(text_null(Snapshot::Description))
        .col(string(Snapshot::Image))
        .col(string(Snapshot::ImageDigest))
        .col(string(Snapshot::Root))
        .col(big_integer(Snapshot::Bytes))
        .col(big_integer(Snapshot::CreatedAt))
        .col(big_integer_null(Snapshot::ExpiresAt))
        .to_owned()
}

fn template() -> TableCreateStatement {
    Table::create()
        .table(Template::Table)
        .col(string(Template::Name).primary_key())
        .col(text(Template::Description))
        .col(string_null(Template::Snapshot))
        .col(string(Template::Image))
        .col(text_null(Template::Manifest))
        .col(text(Template::Defaults))
        .col(string_null(Template::Digest))
        .col(big_integer(Template::CreatedAt))
        .to_owned()
}

fn setting() -> TableCreateStatement {
    Table::create()
        .table(Setting::Table)
        .col(string(Setting::Name).primary_key())
        .col(text(Setting::Value))
        .to_owned()
}

fn sandbox_event() -> TableCreateStatement {
    Table::create()
        .table(SandboxEvent::Table)
        .col(pk_auto(SandboxEvent::Number))
        .col(string(SandboxEvent::Sandbox))
        .col(big_integer(SandboxEvent::At))
        .col(string(SandboxEvent::Kind))
        .col(text(SandboxEvent::Data))
        .foreign_key(
            ForeignKey::create()
                .from(SandboxEvent::Table, SandboxEvent::Sandbox)
                .to(Sandbox::Table, Sandbox::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn egress_refusal() -> TableCreateStatement {
    Table::create()
        .table(EgressRefusal::Table)
        .col(pk_auto(EgressRefusal::Number))
        .col(string(EgressRefusal::Sandbox))
        .col(big_integer(EgressRefusal::At))
        .col(string_null(EgressRefusal::Process))
        .col(string(EgressRefusal::Host))
        .col(big_integer(EgressRefusal::Port))
        .col(text(EgressRefusal::Rule))
        .foreign_key(
            ForeignKey::create()
                .from(EgressRefusal::Table, EgressRefusal::Sandbox)
                .to(Sandbox::Table, Sandbox::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
