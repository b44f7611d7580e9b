//! The directory of images.
//!
//! ```text
//! oci-layout, index.json          names and the manifests they mean, as in an OCI image layout
//! blobs/sha256/<hex>              manifests and configs, byte for byte as they came
//! layers/sha256-<diff id>/        an unpacked layer: a lower directory for overlayfs
//! layers/sha256-<diff id>.json    its size
//! cache/<key>                     diff id of the layer that a step of a recipe made
//! tmp/                            work in progress
//! lock, work                      two lock files, see below
//! ```
//!
//! A thing appears by `rename` when it is complete and on disk, so a reader never needs a lock. Writers of the index
//! hold `lock`. Whoever adds layers holds `work` shared from before the first layer until the index names them;
//! whoever removes layers holds it alone. So no layer vanishes between its making and its naming, and whatever lies in
//! `tmp` while somebody holds `work` alone was left by a process that died.
//!
//! Layers keep the host's own overlayfs marks (`trusted.overlay.opaque`, character device 0:0), not those of OCI
//! archives: they can be mounted as they are, and [`crate::pack`] writes OCI's marks where an archive is made.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::archive::Limits;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::image::Image;
use crate::index::{Named, name_of};
use crate::layer::LayerInfo;
use crate::spec::{Config, DOCUMENT_LIMIT, Descriptor, LAYERS_LIMIT, Manifest};

/// How the names of files begin that are not whole yet.
pub(crate) const UNFINISHED: &str = ".new-";

/// Images in a directory. Cheap to clone; several processes may use one directory.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(crate) root: Arc<Path>,
    pub(crate) limits: Limits,
}

impl ImageStore {
    /// Opens the store, making it when there is none, and removes what interrupted work has left.
    ///
    /// # Errors
    /// When the directory cannot be made or written.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ImageError> {
        let dir = dir.as_ref();
        for part in ["blobs/sha256", "layers", "cache", "tmp"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).at(&part)?;
        }
        let root = fs::canonicalize(dir).at(dir)?;
        let store = Self {
            root: root.into(),
            limits: Limits::default(),
        };
        let layout = store.root.join("oci-layout");
        if !layout.exists() {
            write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        store.sweep()?;
        Ok(store)
    }

    /// The same store with other limits for what is unpacked.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// All images, by name.
    ///
    /// # Errors
    /// When the index cannot be read. An image that is damaged is left out and logged.
    pub fn list(&self) -> Result<Vec<Image>, ImageError> {
        let mut images = Vec::new();
        for entry in &self.index()?.manifests {
            match self.image(&name_of(entry), &entry.digest) {
                Ok(image) => images.push(image),
                Err(error) => {
                    tracing::warn!(image.digest = %entry.digest, error = &error as &dyn std::error::Error, "image is damaged");
                }
            }
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// The image of that name: `base`, `base:latest`, `base@sha256:…` or `sha256:…`.
    ///
    /// # Errors
    /// [`ImageError::Unknown`] when there is none, [`ImageError::Corrupt`] when its files are gone.
    pub fn get(&self, name: &str) -> Result<Image, ImageError> {
        let index = self.index()?;
        match Named::parse(name)?.find(&index) {
            Some(entry) => self.image(&name_of(entry), &entry.digest),
            None => Err(ImageError::Unknown {
                name: name.to_owned(),
                known: index.manifests.iter().map(name_of).collect(),
            }),
        }
    }

    pub(crate) fn image(&self, name: &str, digest: &Digest) -> Result<Image, ImageError> {
        let (_, config) = self.documents(digest)?;
        let mut size = 0;
        let mut layers = Vec::with_capacity(config.rootfs.diff_ids.len());
        for diff_id in &config.rootfs.diff_ids {
            let info = self
                .layer_info(diff_id)?
                .ok_or_else(|| ImageError::Corrupt {
                    path: self.layer_dir(diff_id),
                    reason: format!("image {name} needs this layer and it is gone"),
                })?;
            size += info.bytes;
            layers.push(self.layer_dir(diff_id));
        }
        Ok(Image::new(
            name.to_owned(),
            digest.clone(),
            size,
            layers,
            config,
        ))
    }

    /// The manifest of that digest and its config.
    pub(crate) fn documents(&self, manifest: &Digest) -> Result<(Manifest, Config), ImageError> {
        let manifest: Manifest = self.document(manifest)?;
        let config: Config = self.document(&manifest.config.digest)?;
        Ok((manifest, config))
    }

    fn document<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Result<T, ImageError> {
        let path = self.blob(digest);
        let mut bytes = Vec::new();
        let file = File::open(&path).at(&path)?;
        file.take(DOCUMENT_LIMIT)
            .read_to_end(&mut bytes)
            .at(&path)?;
        let corrupt = |reason: String| ImageError::Corrupt {
            path: path.clone(),
            reason,
        };
        if Digest::of(&bytes) != *digest {
            return Err(corrupt("its bytes do not have its digest".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))
    }

    /// Keeps a manifest and its config and gives them a name. All layers have to be there.
    pub(crate) fn publish(
        &self,
        name: &str,
        config: &[u8],
        manifest: &[u8],
        annotations: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Image, ImageError> {
        self.put_blob(config)?;
        let digest = self.put_blob(manifest)?;
        let parsed: Manifest = self.document(&digest)?;
        debug_assert!(
            parsed.layers.len() <= LAYERS_LIMIT,
            "callers check the number of layers"
        );
        // Fails before the name is given when anything is missing.
        let image = self.image(&Named::parse(name)?.short(), &digest)?;
        let media_type = if parsed.media_type.is_empty() {
            crate::spec::MANIFEST
        } else {
            &parsed.media_type
        };
        let mut entry = Descriptor::new(media_type, digest, manifest.len() as u64);
        entry.annotations.extend(annotations);
        self.set_name(name, entry)?;
        Ok(image)
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, ImageError> {
        let digest = Digest::of(bytes);
        write(&self.blob(&digest), bytes)?;
        Ok(digest)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Size of a layer, or nothing when the store does not have it.
    pub(crate) fn layer_info(&self, diff_id: &Digest) -> Result<Option<LayerInfo>, ImageError> {
        if !self.layer_dir(diff_id).is_dir() {
            return Ok(None);
        }
        LayerInfo::read(&self.layer_dir(diff_id).with_extension("json")).map(Some)
    }

    /// Where an unpacked layer is, or would be.
    pub(crate) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.root
            .join("layers")
            .join(format!("sha256-{}", diff_id.hex()))
    }

    /// A directory for work in progress, removed with the value.
    pub(crate) fn staging(&self) -> Result<TempDir, ImageError> {
        let tmp = self.root.join("tmp");
        TempDir::with_prefix_in("work-", &tmp).at(&tmp)
    }

    pub(crate) fn lock(&self, name: &str, operation: FlockOperation) -> Result<Lock, ImageError> {
        let path = self.root.join(name);
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .at(&path)?;
        // Retried because a signal may interrupt the wait.
        loop {
            match flock(&file, operation) {
                Err(rustix::io::Errno::INTR) => {}
                result => return result.at(&path).map(|()| Lock(file)),
            }
        }
    }

    /// Runs blocking work that adds layers, and cancels it when the caller stops waiting.
    pub(crate) async fn working<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &Cancel) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        if !rustix::process::geteuid().is_root() {
            return Err(ImageError::NeedsRoot);
        }
        let (cancel, guard) = Cancel::pair().at(&self.root)?;
        let store = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let _working = store.lock("work", FlockOperation::LockShared)?;
            work(&store, &cancel)
        })
        .await;
        drop(guard);
        match result {
            Ok(result) => self.settle(result),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ImageError::Cancelled),
        }
    }
}

/// A lock of the store, as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Not by closing the file alone: a process that is being started just now has a copy of the descriptor until it
    /// executes its program, and would hold the lock for that moment.
    fn drop(&mut self) {
        // Closing does it otherwise.
        flock(&self.0, FlockOperation::Unlock).ok();
    }
}

/// Replaces a file of the store, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let dir = path
        .parent()
        .expect("files of the store are in directories");
    // Not in `tmp`, which another process may be sweeping: this write needs no `work` lock.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(dir)
        .at(path)?;
    io::Write::write_all(&mut file, bytes).at(path)?;
    file.as_file().sync_all().at(path)?;
    file.persist(path)
        .map_err(|e| ImageError::io(path, e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).at(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_and_not_with_a_copy_of_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path()).unwrap();
        let alone = || store.lock("work", FlockOperation::NonBlockingLockExclusive);
        let working = store.lock("work", FlockOperation::LockShared).unwrap();
        let _of_a_child = working.0.try_clone().unwrap();
        alone().unwrap_err();
        drop(working);
        alone().unwrap();
    }
}
