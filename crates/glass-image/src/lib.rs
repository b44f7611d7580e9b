//! A content-addressed store of OCI images: what a sandbox starts from.
//!
//! Images come in by [`ImageStore::build`] from a recipe, [`ImageStore::pull`] from a registry or [`ImageStore::import`] from an archive, and lie there unpacked, one directory per layer, so that
//! starting a sandbox is one overlay mount.
#![deny(missing_docs)]

mod archive;
mod build;
mod cancel;
mod digest;
mod docker;
mod error;
mod image;
mod import;
mod incoming;
mod index;
mod layer;
mod pack;
mod progress;
mod registry;
mod spec;
mod store;

pub use archive::{ArchiveError, Limits};
pub use build::{BuildError, BuildOptions, CA_VARIABLES};
pub use digest::{Digest, DigestError};
pub use docker::DockerArchive;
pub use error::ImageError;
pub use image::{Image, ImageConfig};
pub use layer::Removed;
pub use progress::{Event, Progress, Silent};
pub use registry::{Credentials, PullError, PullOptions};
pub use store::ImageStore;
