//! The files of sandboxes in object storage: cut by content, deduplicated over all sandboxes, compressed, encrypted.
//!
//! ```text
//! server ── Archive ── one request, JSON ──► worker: a process of its own that dies with the server
//!              ▲                               │ opens the disk: mounts the image where nobody sees it
//!              └── progress, then the answer ──┤ walks it, or fills it, by descriptors alone
//!                                              ▼
//!                       rustic_core: a repository in restic's format ──► object_store: directory, S3, GCS, Azure
//! ```
//!
//! A worker of its own, because the server is to stay small and because what a sandbox wrote is hostile.
//! Nothing is believed to be archived before all of it was read back and compared, and nothing to be restored before
//! the filled disk was walked again and gave the same tree. Correctness rests on names that are hashes and on the
//! database that says which archives are wanted: never on a store's conditional writes.
#![deny(missing_docs)]

mod archive;
mod backend;
mod disk;
mod error;
mod fault;
mod fill;
mod location;
mod message;
mod metadata;
mod meter;
mod repository;
mod source;
mod survey;
mod tree;
mod worker;

pub use archive::{Archive, Stored, Worker};
pub use error::ArchiveError;
pub use location::{LocationError, Settings};
pub use message::{ArchiveRef, Archived, Disk, Progress, Tidied};
pub use worker::work;
