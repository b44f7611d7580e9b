//! Images in the daemon: one for each chain of layers, loaded when the first sandbox needs it.
//!
//! Docker keeps its own unpacked copy of every layer, shared between chains that begin alike. So the first sandbox of an
//! image waits for the copy, which is as long as the image is large, and others do not.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::query_parameters::{ImportImageOptions, ListImagesOptionsBuilder, RemoveImageOptions};
use bytes::Bytes;
use futures::TryStreamExt as _;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{STATE_LABEL, is_status, skeleton};
use crate::{RuntimeError, state};

/// Which layers it was made from, as a list of paths in JSON.
const LAYERS_LABEL: &str = "io.glasshouse.layers";
/// How often a load that goes on says so.
const NEWS: Duration = Duration::from_secs(5);
/// What is sent at once.
const CHUNK: usize = 256 << 10;

/// Makes the archive by which an image reaches Docker. The server joins it with the store that has the layers.
pub trait ImageArchive: Send + Sync + std::fmt::Debug {
    /// Writes an archive for `docker load` with these layers, the lowest first, under this name.
    ///
    /// # Errors
    /// When a layer cannot be read, or the output takes no more.
    fn write(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        layers: &[PathBuf],
        out: &mut dyn Write,
    ) -> io::Result<()>;
}

/// The images of one state directory.
#[derive(Debug)]
pub(super) struct Images {
    docker: Docker,
    archive: Arc<dyn ImageArchive>,
    state: String,
    skeleton: PathBuf,
    /// Loads one after the other: those that begin alike share what is loaded first.
    loading: tokio::sync::Mutex<()>,
}

impl Images {
    pub(super) fn new(
        docker: Docker,
        archive: Arc<dyn ImageArchive>,
        state: String,
        state_dir: &Path,
    ) -> Result<Self, RuntimeError> {
        Ok(Self {
            docker,
            archive,
            state,
            skeleton: skeleton::make(state_dir)?,
            loading: tokio::sync::Mutex::default(),
        })
    }

    /// The name of the image with these layers, which is there when this returns.
    pub(super) async fn ensure(&self, layers: &[PathBuf]) -> io::Result<String> {
        if layers.is_empty() {
            return Err(io::Error::other("it has no layer"));
        }
        let mut layers = layers.to_vec();
        layers.push(self.skeleton.clone());
        let name = self.name(&layers)?;
        if self.is_there(&name).await? {
            return Ok(name);
        }
        let _alone = self.loading.lock().await;
        if !self.is_there(&name).await? {
            self.load(&name, layers).await?;
            self.prune().await.map_err(io::Error::other)?;
        }
        Ok(name)
    }

    async fn is_there(&self, name: &str) -> io::Result<bool> {
        match self.docker.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(e) if is_status(&e, 404) => Ok(false),
            Err(e) => Err(io::Error::other(e)),
        }
    }

    /// Layers never change, so which directories they are says what is in them.
    fn name(&self, layers: &[PathBuf]) -> io::Result<String> {
        let mut hash = Sha256::new();
        for layer in layers {
            let metadata = std::fs::metadata(layer).map_err(|e| {
                io::Error::new(e.kind(), format!("image layer {}: {e}", layer.display()))
            })?;
            hash.update(layer.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update(metadata.ino().to_le_bytes());
            hash.update(metadata.mtime().to_le_bytes());
            hash.update(metadata.mtime_nsec().to_le_bytes());
        }
        let tag = state::hex(&hash.finalize()[..16]);
        Ok(format!("glasshouse-{}:{tag}", self.state))
    }

    async fn load(&self, name: &str, layers: Vec<PathBuf>) -> io::Result<()> {
        tracing::info!(
            image.name = name,
            layers = layers.len(),
            "loading an image into Docker; the first sandbox of an image waits for it"
        );
        let start = Instant::now();
        let paths = serde_json::to_string(&layers)?;
        let labels = BTreeMap::from([
            (STATE_LABEL.to_owned(), self.state.clone()),
            (LAYERS_LABEL.to_owned(), paths),
        ]);
        let (sender, receiver) = mpsc::channel(4);
        let sent = Arc::new(AtomicU64::new(0));
        let mut out = Sending {
            chunks: sender,
            sent: Arc::clone(&sent),
        };
        let archive = Arc::clone(&self.archive);
        let owned = name.to_owned();
        let writing = tokio::task::spawn_blocking(move || {
            let mut buffered = io::BufWriter::with_capacity(CHUNK, &mut out);
            let written = archive
                .write(&owned, &labels, &layers, &mut buffered)
                .and_then(|()| buffered.flush());
            drop(buffered);
            if let Err(e) = written {
                // The daemon must not take a cut archive for a whole one. When it is gone there is nobody to tell.
                out.chunks.blocking_send(Err(e)).ok();
            }
        });
        let chunks = futures::stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        });
        // The answer begins only after all was read.
        let docker = self.docker.clone().with_timeout(Duration::from_secs(3600));
        let loading =
            docker.import_image(ImportImageOptions::default(), body_try_stream(chunks), None);
        let loading = loading.try_for_each(|_| async { Ok(()) });
        tokio::pin!(loading);
        let loaded = loop {
            tokio::select! {
                loaded = &mut loading => break loaded,
                () = tokio::time::sleep(NEWS) => tracing::info!(
                    image.name = name,
                    sent_mib = sent.load(Ordering::Relaxed) >> 20,
                    "still loading an image into Docker"
                ),
            }
        };
        writing.await.map_err(io::Error::other)?;
        loaded.map_err(io::Error::other)?;
        // Some daemons say in the middle of a good answer that they could not do it.
        if !self.is_there(name).await? {
            return Err(io::Error::other("Docker did not load the image"));
        }
        tracing::info!(
            image.name = name,
            mib = sent.load(Ordering::Relaxed) >> 20,
            duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            "loaded an image into Docker"
        );
        Ok(())
    }

    /// Removes the images whose layers are gone from the store, except those of containers.
    pub(super) async fn prune(&self) -> Result<(), Error> {
        let label = format!("{STATE_LABEL}={}", self.state);
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in self.docker.list_images(Some(options)).await? {
            let layers = image.labels.get(LAYERS_LABEL);
            let layers: Vec<PathBuf> = layers
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            if layers.iter().all(|layer| layer.is_dir()) {
                continue;
            }
            for name in &image.repo_tags {
                let removed = self
                    .docker
                    .remove_image(name, None::<RemoveImageOptions>, None)
                    .await;
                match removed {
                    Ok(_) => tracing::info!(image.name = name, "removed an image from Docker"),
                    // Gone already, or a container is made of it.
                    Err(e) if is_status(&e, 404) || is_status(&e, 409) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }
}

/// Passes bytes from a thread on to a request.
struct Sending {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    sent: Arc<AtomicU64>,
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunks
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
