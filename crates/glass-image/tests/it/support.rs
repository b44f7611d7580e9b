//! Stores, archives and a progress that remembers.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use glass_image::{Digest, Event, ImageStore, Limits, Progress};
use serde_json::json;
use tar::{Builder, EntryType, Header};

/// A store of its own, gone with the value.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: ImageStore,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        let mut place = Self::new();
        place.store = place.store.with_limits(limits);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Names of all files that are not there for good: nothing half-made may stay.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let list = |dir: &str| {
            let dir = self.path("store").join(dir);
            std::fs::read_dir(dir)
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect::<Vec<_>>()
        };
        let mut left = list("tmp");
        left.extend(
            list("layers")
                .into_iter()
                .filter(|p| p.is_dir())
                .filter(|p| {
                    let used = self.store.list().unwrap();
                    !used.iter().any(|image| image.layers.contains(p))
                }),
        );
        left
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Progress for Seen {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Started { .. } | Event::Bytes { .. } => return,
            Event::Line { line, .. } => line.to_owned(),
            Event::Finished { step, cached } => {
                format!("{step}{}", if cached { " (cached)" } else { "" })
            }
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A plain archive.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The parts of an image with the layers given, the lowest first.
pub(crate) struct Parts {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Parts {
    pub(crate) fn new(layers: &[&[(&str, &[u8])]]) -> Self {
        let layers: Vec<_> = layers.iter().map(|files| tar(files)).collect();
        let diff_ids: Vec<_> = layers.iter().map(|l| Digest::of(l)).collect();
        Self::with(layers, &diff_ids)
    }

    pub(crate) fn with(layers: Vec<Vec<u8>>, diff_ids: &[Digest]) -> Self {
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "Env": ["PATH=/bin", "GREETING=hello"], "User": "1000", "Cmd": ["/hello"], "ExposedPorts": { "80/tcp": {} } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
        .to_string()
        .into_bytes();
        let described: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": Digest::of(layer),
                    "size": layer.len(),
                })
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config),
                "size": config.len(),
            },
            "layers": described,
        })
        .to_string()
        .into_bytes();
        Self {
            layers,
            config,
            manifest,
        }
    }

    /// As an OCI image layout in an archive.
    pub(crate) fn oci_archive(&self) -> Vec<u8> {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(&self.manifest),
                "size": self.manifest.len(),
            }],
        })
        .to_string();
        let mut files: Vec<(String, &[u8])> = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#,
            ),
            ("index.json".to_owned(), index.as_bytes()),
        ];
        let blobs = self.layers.iter().chain([&self.config, &self.manifest]);
        files.extend(blobs.map(|b| {
            (
                format!("blobs/sha256/{}", Digest::of(b).hex()),
                b.as_slice(),
            )
        }));
        let files: Vec<_> = files
            .iter()
            .map(|(path, bytes)| (path.as_str(), *bytes))
            .collect();
        tar(&files)
    }

    /// As `docker save` writes it.
    pub(crate) fn docker_archive(&self) -> Vec<u8> {
        let names: Vec<_> = (0..self.layers.len())
            .map(|n| format!("{n}/layer.tar"))
            .collect();
        let list = json!([{ "Config": "config.json", "RepoTags": ["x:latest"], "Layers": names }])
            .to_string();
        let mut files: Vec<(&str, &[u8])> = vec![("config.json", &self.config)];
        files.extend(
            names
                .iter()
                .map(String::as_str)
                .zip(self.layers.iter().map(Vec::as_slice)),
        );
        files.push(("manifest.json", list.as_bytes()));
        tar(&files)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(crate) fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}
