//! Why the store would not do it.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveError;
use crate::build::BuildError;
use crate::registry::PullError;

/// Why the store would not do it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image has this name.
    #[error("image `{name}` is not in the store; {}", known_images(known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// This can be no name of an image.
    #[error("`{name}` is not a valid image name: {reason}")]
    InvalidName {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Somebody needs the image.
    #[error("image `{name}` is in use by {}; remove them first", by.join(", "))]
    InUse {
        /// Which image.
        name: String,
        /// Who uses it.
        by: Vec<String>,
    },
    /// Files with foreign owners can only be made by root.
    #[error("unpacking an image needs root; run the same command with sudo")]
    NeedsRoot,
    /// The disk is full.
    #[error("no space left in {}; free some, for example with `glasshouse image rm`", dir.display())]
    Full {
        /// Where.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of the store, or a file given, could not be used.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The store is damaged.
    #[error("{} is damaged ({reason}); remove the image and make it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The caller did not wait for the end.
    #[error("cancelled")]
    Cancelled,
    /// What was to be unpacked is not what it should be.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A recipe is wrong, or one of its steps failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A registry is wrong, or refused.
    #[error(transparent)]
    Pull(#[from] PullError),
}

fn known_images(known: &[String]) -> String {
    if known.is_empty() {
        "it is empty: make one with `glasshouse image build images/base`".to_owned()
    } else {
        format!("it has {}", known.join(", "))
    }
}

impl ImageError {
    /// An error of the file system about `path`, which is in the store or is what the caller named.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                dir: path.parent().unwrap_or(path).to_owned(),
                source,
            },
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Names the file that an error of the file system is about.
pub(crate) trait IoContext<T> {
    fn at(self, path: &Path) -> Result<T, ImageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, ImageError> {
        self.map_err(|source| ImageError::io(path, source))
    }
}

impl<T> IoContext<T> for rustix::io::Result<T> {
    fn at(self, path: &Path) -> Result<T, ImageError> {
        self.map_err(|errno| ImageError::io(path, errno.into()))
    }
}
