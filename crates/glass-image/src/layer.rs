//! Layers: their making final, and their removal.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::image::Image;
use crate::index::{Named, is_former, name_of};
use crate::store::{ImageStore, UNFINISHED, write};

/// What is remembered of a layer.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    /// Length of its archive, uncompressed.
    pub(crate) bytes: u64,
}

impl LayerInfo {
    pub(crate) fn read(path: &Path) -> Result<Self, ImageError> {
        let bytes = fs::read(path).at(path)?;
        serde_json::from_slice(&bytes).map_err(|e| ImageError::Corrupt {
            path: path.to_owned(),
            reason: e.to_string(),
        })
    }
}

/// What removing has freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Images that are gone.
    pub images: usize,
    /// Layers that no other image needed.
    pub layers: usize,
    /// Bytes of those layers.
    pub bytes: u64,
}

impl ImageStore {
    /// Makes an unpacked tree a layer of the store.
    pub(crate) fn commit_layer(
        &self,
        tree: &Path,
        diff_id: &Digest,
        bytes: u64,
    ) -> Result<(), ImageError> {
        let dir = self.layer_dir(diff_id);
        if dir.is_dir() {
            return Ok(());
        }
        let info = serde_json::to_vec(&LayerInfo { bytes }).expect("a number is always JSON");
        write(&dir.with_extension("json"), &info)?;
        // One flush for the whole tree instead of one for each of its many files.
        let tree_dir = File::open(tree).at(tree)?;
        rustix::fs::syncfs(&tree_dir).at(tree)?;
        match fs::rename(tree, &dir) {
            Ok(()) => {}
            // Another process made the same layer in the meantime.
            Err(_) if dir.is_dir() => return Ok(()),
            Err(e) => return Err(ImageError::io(&dir, e)),
        }
        let layers = self.root.join("layers");
        File::open(&layers).and_then(|d| d.sync_all()).at(&layers)
    }

    /// Removes a name, and the image when it was its last one. Layers that no other image needs go too.
    ///
    /// `in_use` names those that need an image, for example sandboxes; when there are any, nothing is removed.
    ///
    /// # Errors
    /// [`ImageError::Unknown`], [`ImageError::InUse`], or when files cannot be removed.
    pub fn remove(
        &self,
        name: &str,
        in_use: &dyn Fn(&Image) -> Vec<String>,
    ) -> Result<Removed, ImageError> {
        let image = self.get(name)?;
        let named = Named::parse(name)?;
        let removed = self.change_index(|index| {
            let Some(entry) = named.find(index) else {
                return Ok(0);
            };
            let (entry_name, digest) = (name_of(entry), entry.digest.clone());
            let last = index
                .manifests
                .iter()
                .filter(|m| m.digest == digest)
                .count()
                == 1;
            if last {
                let by = in_use(&image);
                if !by.is_empty() {
                    return Err(ImageError::InUse {
                        name: image.name.clone(),
                        by,
                    });
                }
            }
            index
                .manifests
                .retain(|m| m.digest != digest || name_of(m) != entry_name);
            Ok(1)
        })?;
        self.collect(removed)
    }

    /// Removes the images whose name was given to a newer one, except those in use.
    ///
    /// # Errors
    /// When files cannot be removed.
    pub fn prune(&self, in_use: &dyn Fn(&Image) -> Vec<String>) -> Result<Removed, ImageError> {
        let removed = self.change_index(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|entry| {
                let unneeded = || {
                    self.image(&name_of(entry), &entry.digest)
                        .map_or(true, |image| in_use(&image).is_empty())
                };
                !(is_former(entry) && unneeded())
            });
            Ok(before - index.manifests.len())
        })?;
        self.collect(removed)
    }

    /// Removes what interrupted work has left, unless some work is going on.
    pub(crate) fn sweep(&self) -> Result<(), ImageError> {
        let Ok(_alone) = self.lock("work", FlockOperation::NonBlockingLockExclusive) else {
            return Ok(());
        };
        let tmp = self.root.join("tmp");
        for left in fs::read_dir(&tmp).at(&tmp)? {
            let left = left.at(&tmp)?.path();
            remove_tree(&left)?;
        }
        self.sweep_unfinished_files()?;
        // Layers that a recipe may still use are kept: the next build of it goes on from there.
        let mut needed = self.needed()?;
        for (_, diff_id) in self.cached_steps()? {
            needed.insert(diff_id);
        }
        self.remove_layers_except(&needed).map(|_| ())
    }

    /// Removes what a killed process had not yet renamed to its name in the store's own directory.
    fn sweep_unfinished_files(&self) -> Result<(), ImageError> {
        let _lock = self.lock("lock", FlockOperation::LockExclusive)?;
        for file in fs::read_dir(&self.root).at(&self.root)? {
            let file = file.at(&self.root)?;
            if file.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove_tree(&file.path())?;
            }
        }
        Ok(())
    }

    /// Passes a result on. When it is a failure, the layers that were made before it are removed.
    pub(crate) fn settle<T>(&self, result: Result<T, ImageError>) -> Result<T, ImageError> {
        if result.is_err()
            && let Err(error) = self.sweep()
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot remove what a failure has left"
            );
        }
        result
    }

    /// Removes all layers, blobs and cached steps that no image needs. Leaves them to the next time when some work is
    /// going on, which may be about to need them.
    fn collect(&self, images: usize) -> Result<Removed, ImageError> {
        let Ok(_alone) = self.lock("work", FlockOperation::NonBlockingLockExclusive) else {
            return Ok(Removed {
                images,
                ..Removed::default()
            });
        };
        let needed = self.needed()?;
        let mut removed = self.remove_layers_except(&needed)?;
        removed.images = images;
        for (file, diff_id) in self.cached_steps()? {
            if !needed.contains(&diff_id) {
                fs::remove_file(&file).at(&file)?;
            }
        }
        self.remove_unneeded_blobs()?;
        Ok(removed)
    }

    /// Diff ids of all layers of all images.
    fn needed(&self) -> Result<HashSet<Digest>, ImageError> {
        let mut needed = HashSet::new();
        for entry in self.index()?.manifests {
            // An image without its documents cannot run, so nothing can need its layers.
            if let Ok((_, config)) = self.documents(&entry.digest) {
                needed.extend(config.rootfs.diff_ids);
            }
        }
        Ok(needed)
    }

    fn cached_steps(&self) -> Result<Vec<(std::path::PathBuf, Digest)>, ImageError> {
        let dir = self.root.join("cache");
        let mut steps = Vec::new();
        for file in fs::read_dir(&dir).at(&dir)? {
            let file = file.at(&dir)?.path();
            if let Some(diff_id) = fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.parse().ok())
            {
                steps.push((file, diff_id));
            }
        }
        Ok(steps)
    }

    fn remove_layers_except(&self, needed: &HashSet<Digest>) -> Result<Removed, ImageError> {
        let dir = self.root.join("layers");
        let mut removed = Removed::default();
        for file in fs::read_dir(&dir).at(&dir)? {
            let path = file.at(&dir)?.path();
            let stem = path
                .file_stem()
                .and_then(|s| s.to_str())
                .unwrap_or_default();
            let digest = stem.replacen('-', ":", 1).parse::<Digest>();
            if digest.as_ref().is_ok_and(|d| needed.contains(d)) {
                continue;
            }
            if path.is_dir() {
                let info = LayerInfo::read(&path.with_extension("json"));
                removed.layers += 1;
                removed.bytes += info.map_or(0, |i| i.bytes);
                // Moved away first: a layer is there as a whole or not at all, also when this is interrupted.
                let staging = self.staging()?;
                fs::rename(&path, staging.path().join("layer")).at(&path)?;
                remove_tree(staging.path())?;
            }
        }
        for file in fs::read_dir(&dir).at(&dir)? {
            let path = file.at(&dir)?.path();
            if path.is_file() && !path.with_extension("").is_dir() {
                fs::remove_file(&path).at(&path)?;
            }
        }
        Ok(removed)
    }

    fn remove_unneeded_blobs(&self) -> Result<(), ImageError> {
        let mut needed = HashSet::new();
        for entry in self.index()?.manifests {
            if let Ok((manifest, _)) = self.documents(&entry.digest) {
                needed.insert(manifest.config.digest.hex().to_owned());
            }
            needed.insert(entry.digest.hex().to_owned());
        }
        let dir = self.root.join("blobs/sha256");
        for file in fs::read_dir(&dir).at(&dir)? {
            let file = file.at(&dir)?;
            if !needed.contains(&*file.file_name().to_string_lossy()) {
                fs::remove_file(file.path()).at(&file.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a tree or a file without following links. What is gone already is no error.
pub(crate) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let result = fs::symlink_metadata(path).and_then(|metadata| {
        if metadata.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    });
    match result {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at(path),
    }
}
