//! An image on its way into the store, wherever it comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::archive::compression::decompress;
use crate::archive::unpack::unpack;
use crate::archive::{ArchiveError, Limits};
use crate::cancel::Cancel;
use crate::digest::{Digest, Hashing};
use crate::error::{ImageError, IoContext};
use crate::progress::{Event, Progress};
use crate::spec::{Config, Descriptor, Index, LAYERS_LIMIT, Manifest, Platform};
use crate::store::ImageStore;

/// The layers of an image, the lowest first: where its archive is, and its name in the store.
pub(crate) fn layers(
    manifest: &Manifest,
    config: &Config,
) -> Result<Vec<(Descriptor, Digest)>, ArchiveError> {
    let host = Platform::host();
    if config.os != host.os || config.architecture != host.architecture {
        return Err(ArchiveError::document(
            "platform",
            format!(
                "it is for {}/{}, and this machine is {}/{}",
                config.os, config.architecture, host.os, host.architecture
            ),
        ));
    }
    let (described, unpacked) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if described != unpacked {
        return Err(ArchiveError::document(
            "config",
            format!("it lists {unpacked} layers and the manifest {described}"),
        ));
    }
    if described == 0 || described > LAYERS_LIMIT {
        return Err(ArchiveError::document(
            "manifest",
            format!("it has {described} layers; 1 to {LAYERS_LIMIT} are possible"),
        ));
    }
    Ok(manifest
        .layers
        .iter()
        .cloned()
        .zip(config.rootfs.diff_ids.iter().cloned())
        .collect())
}

/// The manifest for this machine.
pub(crate) fn choose(index: &Index) -> Result<&Descriptor, ArchiveError> {
    let host = Platform::host();
    let fits = |descriptor: &&Descriptor| match &descriptor.platform {
        Some(platform) => platform.os == host.os && platform.architecture == host.architecture,
        None => index.manifests.len() == 1,
    };
    index.manifests.iter().find(fits).ok_or_else(|| {
        let offered: Vec<_> = index
            .manifests
            .iter()
            .filter_map(|m| m.platform.as_ref())
            .take(20)
            .map(|p| format!("{}/{}", p.os, p.architecture))
            .collect();
        let reason = format!(
            "none is for {}/{}; there are: {}",
            host.os,
            host.architecture,
            if offered.is_empty() {
                "none with a platform".to_owned()
            } else {
                offered.join(", ")
            }
        );
        ArchiveError::document("index", reason)
    })
}

/// Parses a document and says which one when it is none.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    what: &str,
    bytes: &[u8],
) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|error| ArchiveError::document(what, error))
}

/// Checks that bytes have the digest that was promised.
pub(crate) fn verify(
    what: impl Into<String>,
    expected: &Digest,
    found: Digest,
) -> Result<(), ArchiveError> {
    if *expected == found {
        return Ok(());
    }
    Err(ArchiveError::Digest {
        what: what.into(),
        expected: expected.clone(),
        found,
    })
}

/// What a layer's archive turned out to be.
pub(crate) struct Unpacked {
    pub(crate) diff_id: Digest,
    pub(crate) bytes: u64,
}

impl ImageStore {
    /// Unpacks the archive of one layer into `tree`. The caller compares the diff id.
    pub(crate) fn unpack_layer(
        &self,
        archive: &Path,
        tree: &Path,
        left: &mut Limits,
        cancel: &Cancel,
    ) -> Result<Unpacked, ImageError> {
        let file = File::open(archive).at(archive)?;
        let mut uncompressed = Hashing::new(decompress(file).map_err(ArchiveError::Unreadable)?);
        unpack(&mut uncompressed, tree, left, cancel).map_err(|error| match error {
            // The limit is one for the whole image, not what earlier layers have left of it.
            ImageError::Archive(ArchiveError::TooLarge { entry, unit, .. }) => {
                let limit = if unit == "bytes" {
                    self.limits.bytes
                } else {
                    self.limits.entries
                };
                ArchiveError::TooLarge { entry, limit, unit }.into()
            }
            error => error,
        })?;
        let (diff_id, bytes) = uncompressed.finish();
        Ok(Unpacked { diff_id, bytes })
    }

    /// Makes the archive of one layer a layer of the store, when it is what was promised.
    pub(crate) fn add_layer(
        &self,
        archive: &Path,
        descriptor: &Descriptor,
        diff_id: &Digest,
        left: &mut Limits,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let step = format!("unpack {}", diff_id.short());
        progress.event(Event::Started {
            step: &step,
            total: None,
        });
        let cached = self.layer_info(diff_id)?.is_some();
        if !cached {
            let staging = self.staging()?;
            let tree = staging.path().join("tree");
            verify(
                format!("layer {}", descriptor.digest.short()),
                &descriptor.digest,
                digest_of(archive)?,
            )?;
            let unpacked = self.unpack_layer(archive, &tree, left, cancel)?;
            verify(
                format!("layer {}, unpacked,", descriptor.digest.short()),
                diff_id,
                unpacked.diff_id,
            )?;
            self.commit_layer(&tree, diff_id, unpacked.bytes)?;
        }
        progress.event(Event::Finished {
            step: &step,
            cached,
        });
        Ok(())
    }
}

pub(crate) fn digest_of(path: &Path) -> Result<Digest, ImageError> {
    let mut hashing = Hashing::new(File::open(path).at(path)?);
    let mut buffer = vec![0; 1 << 18];
    while hashing.read(&mut buffer).at(path)? > 0 {}
    Ok(hashing.finish().0)
}

/// Reads a document that may not be large.
pub(crate) fn read_document(path: &Path, what: &str) -> Result<Vec<u8>, ImageError> {
    let limit = crate::spec::DOCUMENT_LIMIT;
    let mut bytes = Vec::new();
    io::Read::take(File::open(path).at(path)?, limit + 1)
        .read_to_end(&mut bytes)
        .at(path)?;
    if bytes.len() as u64 > limit {
        return Err(
            ArchiveError::document(what, format!("it is longer than {limit} bytes")).into(),
        );
    }
    Ok(bytes)
}
