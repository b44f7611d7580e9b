//! The names of images: `index.json`.

use std::fs;
use std::io;

use rustix::fs::FlockOperation;

use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::spec::{Descriptor, Index};
use crate::store::{ImageStore, write};

const NAME: &str = "org.opencontainers.image.ref.name";
/// The name that an image had before a newer one got it.
const FORMER_NAME: &str = "dev.glasshouse.former-name";

/// How people name an image of the store.
pub(crate) enum Named {
    /// `name:tag`
    Tag(String),
    /// `sha256:…`, perhaps with a name before it, which is not looked at.
    Digest(Digest),
}

impl Named {
    pub(crate) fn parse(name: &str) -> Result<Self, ImageError> {
        if let Ok(digest) = name.rsplit('@').next().unwrap_or(name).parse() {
            return Ok(Self::Digest(digest));
        }
        let invalid = |reason| ImageError::InvalidName {
            name: name.chars().take(100).collect(),
            reason,
        };
        if name.is_empty() || name.len() > 255 {
            return Err(invalid("it needs 1 to 255 characters"));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (name, "latest"),
        };
        if !repository.chars().all(plain) {
            return Err(invalid(
                "use lower-case letters, digits and `.`, `_`, `-`, `/`",
            ));
        }
        if repository
            .split('/')
            .any(|part| !part.starts_with(|c: char| c.is_ascii_alphanumeric()))
        {
            return Err(invalid("every part has to begin with a letter or digit"));
        }
        let tag_char = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(tag_char) {
            return Err(invalid("a tag is letters, digits and `.`, `_`, `-`"));
        }
        Ok(Self::Tag(format!("{repository}:{tag}")))
    }

    pub(crate) fn find<'a>(&self, index: &'a Index) -> Option<&'a Descriptor> {
        index.manifests.iter().find(|entry| self.means(entry))
    }

    fn means(&self, entry: &Descriptor) -> bool {
        match self {
            Self::Tag(name) => entry.annotations.get(NAME) == Some(name),
            Self::Digest(digest) => entry.digest == *digest,
        }
    }

    /// The name without `:latest`.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Tag(name) => short(name).to_owned(),
            Self::Digest(digest) => digest.to_string(),
        }
    }
}

fn short(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

/// What people call an entry of the index.
pub(crate) fn name_of(entry: &Descriptor) -> String {
    match (
        entry.annotations.get(NAME),
        entry.annotations.get(FORMER_NAME),
    ) {
        (Some(name), _) => short(name).to_owned(),
        (None, Some(former)) => format!("{}@{}", short(former), entry.digest),
        (None, None) => entry.digest.to_string(),
    }
}

/// Whether an entry has lost its name to a newer image.
pub(crate) fn is_former(entry: &Descriptor) -> bool {
    !entry.annotations.contains_key(NAME)
}

impl ImageStore {
    pub(crate) fn index(&self) -> Result<Index, ImageError> {
        let path = self.root.join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(e) => return Err(ImageError::io(&path, e)),
        };
        serde_json::from_slice(&bytes).map_err(|e| ImageError::Corrupt {
            path,
            reason: e.to_string(),
        })
    }

    /// Changes the index while nobody else does.
    pub(crate) fn change_index<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, ImageError>,
    ) -> Result<T, ImageError> {
        let _lock = self.lock("lock", FlockOperation::LockExclusive)?;
        let mut index = self.index()?;
        let result = change(&mut index)?;
        let path = self.root.join("index.json");
        let bytes = serde_json::to_vec_pretty(&index)
            .map_err(io::Error::from)
            .at(&path)?;
        write(&path, &bytes)?;
        Ok(result)
    }

    /// Gives a name to a manifest. The image that had the name stays under its digest: sandboxes may run on it.
    pub(crate) fn set_name(&self, name: &str, mut entry: Descriptor) -> Result<(), ImageError> {
        let Named::Tag(name) = Named::parse(name)? else {
            return Err(ImageError::InvalidName {
                name: name.to_owned(),
                reason: "a digest cannot be given as a name",
            });
        };
        entry.annotations.insert(NAME.to_owned(), name.clone());
        self.change_index(|index| {
            for old in &mut index.manifests {
                if old.annotations.get(NAME) == Some(&name) {
                    old.annotations.remove(NAME);
                    old.annotations.insert(FORMER_NAME.to_owned(), name.clone());
                }
            }
            // An image that has a name again, or still, needs no entry for its former one.
            index
                .manifests
                .retain(|old| !(old.digest == entry.digest && is_former(old)));
            index.manifests.push(entry);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_the_tag_when_none_is_given() {
        for (given, short) in [
            ("base", "base"),
            ("base:latest", "base"),
            ("base:v1", "base:v1"),
            ("localhost:5000/a/b", "localhost:5000/a/b"),
            ("localhost:5000/a/b:X", "localhost:5000/a/b:X"),
        ] {
            assert_eq!(Named::parse(given).unwrap().short(), short);
        }
    }

    #[test]
    fn a_name_that_could_be_a_path_or_an_option_is_refused() {
        for bad in [
            "", "../x", "/x", "-x", "a//b", "a b", "UPPER", "a:", "a:b c", "a/../b", "ä", "a@b",
        ] {
            assert!(Named::parse(bad).is_err(), "{bad}");
        }
    }
}
