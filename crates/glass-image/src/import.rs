//! Takes in an archive: of an image as `skopeo`, `docker save` or `podman save` write it, or of a root file system.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::archive::compression::decompress;
use crate::archive::entries::Entries;
use crate::archive::tree::components;
use crate::archive::{ArchiveError, Limits};
use crate::build::now;
use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::image::Image;
use crate::incoming::{self, parse, read_document, verify};
use crate::index::Named;
use crate::progress::{Event, Progress};
use crate::spec::{
    CONFIG, Config, DOCKER_INDEX, Descriptor, INDEX, Index, LAYER, MANIFEST, Manifest, Platform,
    RootFs, RunConfig,
};
use crate::store::ImageStore;

/// No archive of an image has more files; a root file system is not staged.
const FILES_LIMIT: usize = 4_000;

impl ImageStore {
    /// Takes in an archive under a name: an OCI image layout, the output of `docker save`, or the files of a system;
    /// plain, gzipped or compressed with zstd.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn import(
        &self,
        archive: &Path,
        name: &str,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        let Named::Tag(name) = Named::parse(name)? else {
            return Err(ImageError::InvalidName {
                name: name.to_owned(),
                reason: "a digest cannot be given as a name",
            });
        };
        let archive = archive.to_owned();
        self.working(move |store, cancel| {
            let import = Import {
                store,
                archive: &archive,
                name: &name,
                cancel,
                progress: progress.as_ref(),
            };
            match import.kind()? {
                Kind::RootFs => import.root_fs(),
                kind => import.image(kind),
            }
        })
        .await
    }
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Oci,
    Docker,
    RootFs,
}

/// One element of the `manifest.json` that `docker save` writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    layers: Vec<String>,
}

struct Import<'a> {
    store: &'a ImageStore,
    archive: &'a Path,
    name: &'a str,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

/// Files of an archive, by their path in it.
struct Staged {
    files: HashMap<Vec<u8>, PathBuf>,
    /// `docker save` used to write a layer once and link to it.
    links: HashMap<Vec<u8>, Vec<u8>>,
}

impl Staged {
    fn get(&self, path: &str) -> Result<&Path, ArchiveError> {
        let missing = || ArchiveError::document(path, "the archive does not have it");
        let mut path = normal(path.as_bytes()).ok_or_else(missing)?;
        for _ in 0..8 {
            if let Some(file) = self.files.get(&path) {
                return Ok(file);
            }
            path = self.links.get(&path).ok_or_else(missing)?.clone();
        }
        Err(missing())
    }

    fn blob(&self, digest: &Digest) -> Result<&Path, ArchiveError> {
        self.get(&format!("blobs/sha256/{}", digest.hex()))
    }

    fn document(&self, what: &str, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let bytes = read_document(self.blob(digest)?, what)?;
        verify(what, digest, Digest::of(&bytes))?;
        Ok(bytes)
    }
}

fn normal(path: &[u8]) -> Option<Vec<u8>> {
    components(path).ok().map(|parts| parts.join(&b'/'))
}

impl Import<'_> {
    fn open(&self) -> Result<Entries<Box<dyn Read>>, ImageError> {
        let file = File::open(self.archive).at(self.archive)?;
        let reader = decompress(file).map_err(ArchiveError::Unreadable)?;
        Ok(Entries::new(reader, self.store.limits))
    }

    /// Looks through the whole archive: `docker save` writes its `manifest.json` last.
    fn kind(&self) -> Result<Kind, ImageError> {
        let mut entries = self.open()?;
        let mut any = false;
        let mut docker = false;
        while let Some(entry) = entries.next()? {
            self.check_cancelled()?;
            any = true;
            match normal(&entry.path).as_deref() {
                Some(b"oci-layout") => return Ok(Kind::Oci),
                Some(b"manifest.json") => {
                    let mut bytes = Vec::new();
                    entries
                        .data()
                        .take(crate::spec::DOCUMENT_LIMIT)
                        .read_to_end(&mut bytes)
                        .map_err(ArchiveError::Unreadable)?;
                    docker = serde_json::from_slice::<Vec<DockerImage>>(&bytes).is_ok();
                }
                _ => {}
            }
        }
        if !any {
            return Err(ArchiveError::document("archive", "it is empty").into());
        }
        Ok(if docker { Kind::Docker } else { Kind::RootFs })
    }

    fn image(&self, kind: Kind) -> Result<Image, ImageError> {
        let staging = self.store.staging()?;
        let staged = self.stage(staging.path())?;
        let (manifest_bytes, config_bytes, files) = match kind {
            Kind::Oci => Self::oci(&staged)?,
            Kind::Docker | Kind::RootFs => Self::docker(&staged)?,
        };
        let manifest: Manifest = parse("manifest", &manifest_bytes)?;
        let config: Config = parse("config", &config_bytes)?;
        let mut left = self.store.limits;
        for ((descriptor, diff_id), file) in
            incoming::layers(&manifest, &config)?.into_iter().zip(files)
        {
            self.store.add_layer(
                &file,
                &descriptor,
                &diff_id,
                &mut left,
                self.cancel,
                self.progress,
            )?;
        }
        self.store
            .publish(self.name, &config_bytes, &manifest_bytes, [])
    }

    /// Writes the files of the archive to disk, where they can be read in any order.
    fn stage(&self, dir: &Path) -> Result<Staged, ImageError> {
        let step = "read archive";
        self.progress.event(Event::Started { step, total: None });
        let mut entries = self.open()?;
        let mut staged = Staged {
            files: HashMap::new(),
            links: HashMap::new(),
        };
        let mut done = 0;
        let mut left = self.store.limits.bytes;
        while let Some(entry) = entries.next()? {
            self.check_cancelled()?;
            let path = normal(&entry.path).ok_or_else(|| {
                ArchiveError::entry(&entry.path, "its path leads out of the archive")
            })?;
            if staged.files.len() + staged.links.len() >= FILES_LIMIT {
                return Err(ArchiveError::entry(
                    &entry.path,
                    "an archive of an image has no more than 4000 files",
                )
                .into());
            }
            if entry.kind.is_symlink() || entry.kind.is_hard_link() {
                let from = if entry.kind.is_symlink() {
                    &path[..]
                } else {
                    b""
                };
                staged
                    .links
                    .insert(path.clone(), link_target(from, &entry.link));
            } else if entry.kind.is_file() {
                left = left
                    .checked_sub(entry.size)
                    .ok_or_else(|| ArchiveError::TooLarge {
                        entry: crate::archive::shown(&entry.path),
                        limit: self.store.limits.bytes,
                        unit: "bytes",
                    })?;
                let file = dir.join(staged.files.len().to_string());
                let mut out = File::create(&file).at(&file)?;
                std::io::copy(&mut entries.data(), &mut out).map_err(|error| {
                    match error.kind() {
                        std::io::ErrorKind::StorageFull => ImageError::io(&file, error),
                        _ => ArchiveError::Unreadable(error).into(),
                    }
                })?;
                done += entry.size;
                self.progress.event(Event::Bytes { step, done });
                if staged.files.insert(path, file).is_some() {
                    return Err(ArchiveError::entry(&entry.path, "the archive has it twice").into());
                }
            }
        }
        self.progress.event(Event::Finished {
            step,
            cached: false,
        });
        Ok(staged)
    }

    fn oci(staged: &Staged) -> Result<(Vec<u8>, Vec<u8>, Vec<PathBuf>), ImageError> {
        let mut index: Index = parse(
            "index.json",
            &read_document(staged.get("index.json")?, "index.json")?,
        )?;
        // An index may hold an index per image, which holds a manifest per platform.
        for _ in 0..3 {
            let chosen = incoming::choose(&index)?;
            let bytes = staged.document("manifest", &chosen.digest)?;
            if chosen.media_type == INDEX || chosen.media_type == DOCKER_INDEX {
                index = parse("index", &bytes)?;
                continue;
            }
            let manifest: Manifest = parse("manifest", &bytes)?;
            let config = staged.document("config", &manifest.config.digest)?;
            let files = manifest
                .layers
                .iter()
                .map(|layer| staged.blob(&layer.digest).map(Path::to_owned))
                .collect::<Result<_, _>>()?;
            return Ok((bytes, config, files));
        }
        Err(ArchiveError::document("index", "it is nested too deeply").into())
    }

    fn docker(staged: &Staged) -> Result<(Vec<u8>, Vec<u8>, Vec<PathBuf>), ImageError> {
        let list = read_document(staged.get("manifest.json")?, "manifest.json")?;
        let images: Vec<DockerImage> = parse("manifest.json", &list)?;
        let [image] = images.as_slice() else {
            let reason = format!("it lists {} images; save one at a time", images.len());
            return Err(ArchiveError::document("manifest.json", reason).into());
        };
        let config_bytes = read_document(staged.get(&image.config)?, "config")?;
        let config: Config = parse("config", &config_bytes)?;
        let mut files = Vec::new();
        for layer in &image.layers {
            files.push(staged.get(layer)?.to_owned());
        }
        // Such an archive has no manifest of its own. Its layers are promised by the config alone.
        let mut layers = Vec::new();
        for file in &files {
            let bytes = std::fs::metadata(file).at(file)?.len();
            layers.push(Descriptor::new(LAYER, incoming::digest_of(file)?, bytes));
        }
        if files.len() != config.rootfs.diff_ids.len() {
            return Err(ArchiveError::document(
                "manifest.json",
                "it and the config list different layers",
            )
            .into());
        }
        Ok((manifest_for(&config_bytes, layers), config_bytes, files))
    }

    fn root_fs(&self) -> Result<Image, ImageError> {
        let step = "unpack files";
        self.progress.event(Event::Started { step, total: None });
        let staging = self.store.staging()?;
        let tree = staging.path().join("tree");
        let mut left: Limits = self.store.limits;
        let unpacked = self
            .store
            .unpack_layer(self.archive, &tree, &mut left, self.cancel)?;
        self.store
            .commit_layer(&tree, &unpacked.diff_id, unpacked.bytes)?;
        self.progress.event(Event::Finished {
            step,
            cached: false,
        });
        let platform = Platform::host();
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let config = Config {
            created: Some(now()),
            architecture: platform.architecture,
            os: platform.os,
            config: RunConfig {
                env: Some(vec![path.to_owned()]),
                ..RunConfig::default()
            },
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![unpacked.diff_id.clone()],
            },
        };
        let config = serde_json::to_vec(&config).expect("a config is always JSON");
        let layer = Descriptor::new(LAYER, unpacked.diff_id, unpacked.bytes);
        let manifest = manifest_for(&config, vec![layer]);
        self.store.publish(self.name, &config, &manifest, [])
    }

    fn check_cancelled(&self) -> Result<(), ImageError> {
        if self.cancel.is_cancelled() {
            return Err(ImageError::Cancelled);
        }
        Ok(())
    }
}

/// The manifest of an image whose layers are not compressed.
pub(crate) fn manifest_for(config: &[u8], layers: Vec<Descriptor>) -> Vec<u8> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::new(CONFIG, Digest::of(config), config.len() as u64),
        layers,
    };
    serde_json::to_vec(&manifest).expect("a manifest is always JSON")
}

/// Where a symbolic link at `from` leads; a hard link gives its target from the root.
fn link_target(from: &[u8], link: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = from.split(|b| *b == b'/').collect();
    parts.pop();
    for part in link.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}
