//! The only crate that names SQL: schema, queries, transactions.
//!
//! The database is the truth and the world is made to match it, so a row is written before the world is changed. Every
//! write is one transaction on one writer connection; reads go to a pool of their own and never wait for it. A write
//! has reached the disk (`synchronous=FULL`) when its call returns.
//!
//! Outside of a transaction nothing is inserted with `RETURNING`: the driver takes the returned row for the end, but
//! SQLite commits after it, and a commit that fails on a full disk would go unheard.
#![deny(missing_docs)]

mod agent_run;
mod egress_refusal;
mod entity;
mod event;
mod migration;
mod sandbox;
mod sandbox_event;
mod setting;
mod snapshot;
mod task;
mod template;

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;

pub use agent_run::AgentRunRow;
pub use egress_refusal::EgressRefusalRow;
pub use event::EventRow;
pub use sandbox::{ArchiveChange, SandboxRow, Shift};
pub use sandbox_event::{NewSandboxEvent, SandboxEventRow};
pub use snapshot::{SnapshotRow, SnapshotState};
pub use task::TaskRow;
pub use template::TemplateRow;

/// Milliseconds since 1970 UTC.
pub type Millis = i64;

/// The database would not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be opened or brought to the present schema.
    #[error(
        "cannot open the database {path} (if it is damaged, put a backup in its place, or move it away to begin anew)"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: sea_orm::DbErr,
    },
    /// A statement failed.
    #[error("cannot {what}")]
    Query {
        /// What was being done.
        what: &'static str,
        /// What happened.
        #[source]
        source: sea_orm::DbErr,
    },
    /// A row holds what no program of this version writes.
    #[error("the database holds {value:?} as {what}")]
    Corrupt {
        /// Which column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
}

impl StoreError {
    fn query(what: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |source| Self::Query { what, source }
    }

    /// Whether the disk was full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            // SQLITE_FULL (13) and SQLITE_IOERR_WRITE come with these words.
            Self::Open { source, .. } | Self::Query { source, .. } => {
                source.to_string().contains("disk is full")
            }
            Self::Corrupt { .. } => false,
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    /// Changes with every event of a sandbox.
    sandbox_events: tokio::sync::watch::Sender<u64>,
}

impl Store {
    /// Opens the database file, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] names the file.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        make_private(path).map_err(|error| failed(sea_orm::DbErr::Custom(error.to_string())))?;
        let writer = connect(path, 1).await.map_err(failed)?;
        migration::Migrator::up(&writer, None)
            .await
            .map_err(failed)?;
        let reader = connect(path, 4).await.map_err(failed)?;
        Ok(Self {
            writer,
            reader,
            sandbox_events: tokio::sync::watch::Sender::new(0),
        })
    }

    /// Has every statement reported from now on: how long it took and whether it succeeded. To be called before the
    /// store is cloned; earlier clones do not report.
    pub fn observe(&mut self, report: impl Fn(Duration, bool) + Clone + Send + Sync + 'static) {
        for connection in [&mut self.writer, &mut self.reader] {
            let report = report.clone();
            connection.set_metric_callback(move |info| report(info.elapsed, !info.failed));
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.reader
            .ping()
            .await
            .map_err(StoreError::query("reach the database"))
    }
}

/// The database holds tokens, environments and prompts, and the directory may be open to others. SQLite gives the files
/// beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

async fn connect(path: &Path, connections: u32) -> Result<DatabaseConnection, sea_orm::DbErr> {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", path.display()));
    options
        .max_connections(connections)
        .sqlx_logging(false)
        .acquire_timeout(Duration::from_secs(30));
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
            .pragma("foreign_keys", "ON")
            .busy_timeout(Duration::from_secs(10))
    });
    Database::connect(options).await
}

/// Reads a column that holds JSON.
fn from_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt {
        what,
        value: text.chars().take(80).collect(),
    })
}

/// Reads a column that holds a word or an id.
fn from_word<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt {
        what,
        value: text.chars().take(80).collect(),
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value)
        .expect("rows hold maps with text keys, numbers and text, which JSON can say")
}
