//! An image as the archive that `docker load` takes, for a Docker that has no registry to pull from.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::pack;

/// An image whose layers are known by digest and not yet written.
#[derive(Debug)]
pub struct DockerArchive {
    name: String,
    config: Vec<u8>,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    tree: PathBuf,
    diff_id: Digest,
    bytes: u64,
}

impl DockerArchive {
    /// Reads every layer once, for its digest. `name` is that of the image, with its tag; `layers` are unpacked ones,
    /// the lowest first, that nobody changes meanwhile.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn of(
        name: &str,
        labels: &BTreeMap<String, String>,
        layers: &[PathBuf],
    ) -> io::Result<Self> {
        let (cancel, _guard) = Cancel::pair()?;
        let layers = layers
            .iter()
            .map(|tree| {
                let (diff_id, bytes) = pack::digest(tree, &cancel)?;
                Ok(Layer {
                    tree: tree.clone(),
                    diff_id,
                    bytes,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        Ok(Self {
            name: name.to_owned(),
            config: config.to_string().into_bytes(),
            layers,
        })
    }

    /// Bytes of its layers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Writes the archive. Nothing is kept in memory or on disk, so every layer is read once more.
    ///
    /// # Errors
    /// When a layer cannot be read or has changed, or the output takes no more.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let (cancel, _guard) = Cancel::pair()?;
        let mut archive = Builder::new(out);
        let config_name = format!("{}.json", Digest::of(&self.config).hex());
        let layer_name = |layer: &Layer| format!("{}.tar", layer.diff_id.hex());
        let manifest = json!([{
            "Config": config_name,
            "RepoTags": [self.name],
            "Layers": self.layers.iter().map(layer_name).collect::<Vec<_>>(),
        }]);
        file(
            &mut archive,
            "manifest.json",
            manifest.to_string().as_bytes(),
        )?;
        file(&mut archive, &config_name, &self.config)?;
        for layer in &self.layers {
            let mut header = header(layer.bytes);
            header.set_path(layer_name(layer))?;
            header.set_cksum();
            let out = archive.get_mut();
            out.write_all(header.as_bytes())?;
            let mut exactly = Exactly {
                out: &mut *out,
                left: layer.bytes,
            };
            let buffered = io::BufWriter::with_capacity(1 << 18, &mut exactly);
            pack::pack(&layer.tree, buffered, &cancel)?;
            if exactly.left > 0 {
                return Err(changed());
            }
            let padding = usize::try_from(layer.bytes.wrapping_neg() % 512).unwrap_or(0);
            out.write_all(&[0; 512][..padding])?;
        }
        archive.into_inner()?.flush()
    }
}

/// As Go calls it, and so Docker.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn header(bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(bytes);
    header
}

fn file(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(content.len() as u64), name, content)
}

fn changed() -> io::Error {
    io::Error::other("a layer has changed since its digest was taken")
}

/// Takes as many bytes as the header before them says, or none of the rest of the archive would be understood.
struct Exactly<W> {
    out: W,
    left: u64,
}

impl<W: Write> Write for Exactly<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(changed)?;
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Read as _;

    use super::*;

    fn entries(bytes: &[u8]) -> HashMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn every_layer_is_in_it_under_its_own_digest() {
        let dir = tempfile::tempdir().unwrap();
        let layers = ["one", "two"].map(|name| dir.path().join(name));
        for (layer, content) in layers.iter().zip(["first", ""]) {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join("file"), content).unwrap();
        }
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let archive = DockerArchive::of("name:tag", &labels, &layers).unwrap();
        let mut bytes = Vec::new();
        archive.write(&mut bytes).unwrap();
        let entries = entries(&bytes);
        let json =
            |name: &str| -> serde_json::Value { serde_json::from_slice(&entries[name]).unwrap() };
        let manifest = json("manifest.json");
        assert_eq!(manifest[0]["RepoTags"][0], "name:tag");
        let config = json(manifest[0]["Config"].as_str().unwrap());
        assert_eq!(config["config"]["Labels"]["a"], "b");
        let names = manifest[0]["Layers"].as_array().unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!((names.len(), diff_ids.len()), (2, 2));
        for (name, diff_id) in names.iter().zip(diff_ids) {
            let content = &entries[name.as_str().unwrap()];
            assert_eq!(Digest::of(content).to_string(), diff_id.as_str().unwrap());
        }
        assert!(self::entries(&entries[names[0].as_str().unwrap()]).contains_key("file"));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_layer_that_changes_meanwhile_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let layers = [dir.path().to_owned()];
        let archive = DockerArchive::of("name", &BTreeMap::new(), &layers).unwrap();
        std::fs::write(dir.path().join("file"), vec![0; 4096]).unwrap();
        assert!(archive.write(io::sink()).is_err());
        std::fs::remove_file(dir.path().join("file")).unwrap();
        assert!(archive.write(io::sink()).is_err());
    }
}
