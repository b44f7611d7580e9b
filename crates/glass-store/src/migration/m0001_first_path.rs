//! Sandboxes, their tasks, the events of those, and which agent process serves a sandbox.
#![expect(
    elided_lifetimes_in_paths,
    reason = "the trait's own signature elides it, and naming it would differ"
)]

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, pk_auto, string, string_null, string_uniq, text,
    text_null,
};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_first_path"
    }
}

#[derive(DeriveIden)]
enum Sandbox {
    Table,
    Id,
    State,
    Reason,
    Image,
    ImageDigest,
    Env,
    Labels,
    MemoryBytes,
    CpuMillis,
    Pids,
    DiskBytes,
    Ports,
    GatewayToken,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Task {
    Table,
    Number,
    Id,
    Sandbox,
    Status,
    Prompt,
    Agent,
    Model,
    ProcessKey,
    CancelRequested,
    Result,
    Error,
    CreatedAt,
    EndedAt,
}

#[derive(DeriveIden)]
enum Event {
    Table,
    Task,
    Id,
    Line,
    At,
    Body,
}

#[derive(DeriveIden)]
enum AgentRun {
    Table,
    Sandbox,
    Agent,
    ProcessKey,
    Model,
    AcpSession,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(sandbox()).await?;
        manager.create_table(task()).await?;
        manager
            .create_index(
                Index::create()
                    .name("task_by_sandbox")
                    .table(Task::Table)
                    .col(Task::Sandbox)
                    .to_owned(),
            )
            .await?;
        manager.create_table(event()).await?;
        manager.create_table(agent_run()).await
    }
}

fn sandbox() -> TableCreateStatement {
    Table::create()
        .table(Sandbox::Table)
        .col(string(Sandbox::Id).primary_key())
        .col(string(Sandbox::State))
        .col(text_null(Sandbox::Reason))
        .col(string(Sandbox::Image))
        .col(string(Sandbox::ImageDigest))
        .col(text(Sandbox::Env))
        .col(text(Sandbox::Labels))
        .col(big_integer(Sandbox::MemoryBytes))
        .col(big_integer(Sandbox::CpuMillis))
        .col(big_integer(Sandbox::Pids))
        .col(big_integer(Sandbox::DiskBytes))
        .col(text(Sandbox::Ports))
        .col(string_uniq(Sandbox::GatewayToken))
        .col(big_integer(Sandbox::CreatedAt))
        .to_owned()
}

fn task() -> TableCreateStatement {
    Table::create()
        .table(Task::Table)
        .col(pk_auto(Task::Number))
        .col(string_uniq(Task::Id))
        .col(string(Task::Sandbox))
        .col(string(Task::Status))
        .col(text(Task::Prompt))
        .col(string(Task::Agent))
        .col(string(Task::Model))
        .col(string_null(Task::ProcessKey))
        .col(boolean(Task::CancelRequested))
        .col(text_null(Task::Result))
        .col(text_null(Task::Error))
        .col(big_integer(Task::CreatedAt))
        .col(big_integer_null(Task::EndedAt))
        .foreign_key(
            ForeignKey::create()
                .from(Task::Table, Task::Sandbox)
                .to(Sandbox::Table, Sandbox::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn event() -> TableCreateStatement {
    Table::create()
        .table(Event::Table)
        .col(string(Event::Task))
        .col(big_integer(Event::Id))
        .col(big_integer_null(Event::Line))
        .col(big_integer(Event::At))
        .col(text(Event::Body))
        .primary_key(Index::create().col(Event::Task).col(Event::Id))
        .foreign_key(
            ForeignKey::create()
                .from(Event::Table, Event::Task)
                .to(Task::Table, Task::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn agent_run() -> TableCreateStatement {
    Table::create()
        .table(AgentRun::Table)
        .col(string(AgentRun::Sandbox))
        .col(string(AgentRun::Agent))
        .col(string(AgentRun::ProcessKey))
        .col(string(AgentRun::Model))
        .col(string_null(AgentRun::AcpSession))
        .primary_key(Index::create().col(AgentRun::Sandbox).col(AgentRun::Agent))
        .foreign_key(
            ForeignKey::create()
                .from(AgentRun::Table, AgentRun::Sandbox)
                .to(Sandbox::Table, Sandbox::Id)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
