//! Pulls one image.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::io::AsyncWriteExt;

use crate::archive::ArchiveError;
use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::image::Image;
use crate::incoming::{self, parse, verify};
use crate::progress::{Event, Progress};
use crate::registry::client::Client;
use crate::registry::reference::Reference;
use crate::registry::{PullError, PullOptions};
use crate::spec::{
    Config, DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, Index, MANIFEST, Manifest,
};
use crate::store::ImageStore;

/// How often a download is tried in a row without getting any further.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(250);

impl ImageStore {
    /// Pulls an image of this machine's platform: `alpine`, `ghcr.io/owner/name:tag`, `localhost:5000/name@sha256:…`.
    ///
    /// Layers that the store has are not downloaded. A broken download goes on where it was.
    ///
    /// # Errors
    /// See [`PullError`] and [`ArchiveError`].
    pub async fn pull(
        &self,
        reference: &str,
        options: PullOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(reference)?;
        let result = self.pull_reference(reference, options, progress).await;
        self.settle(result)
    }

    async fn pull_reference(
        &self,
        reference: Reference,
        options: PullOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        // Holds `work` from the first layer until the image has its name. Returns at once: it does nothing else.
        let _working = self.lock("work", FlockOperation::LockShared)?;
        let staging = self.staging()?;
        let mut pull = Pull {
            client: Client::new(reference.clone(), options.credentials)?,
            progress: progress.as_ref(),
        };
        let (manifest_bytes, manifest) = pull.manifest(&reference).await?;
        let config_bytes = pull.config(&manifest).await?;
        let config: Config = parse("config", &config_bytes)?;

        let mut left = self.limits;
        for (position, (descriptor, diff_id)) in incoming::layers(&manifest, &config)?
            .into_iter()
            .enumerate()
        {
            let archive = staging.path().join(position.to_string());
            if self.layer_info(&diff_id)?.is_some() {
                let step = format!("unpack {}", diff_id.short());
                progress.event(Event::Started {
                    step: &step,
                    total: None,
                });
                progress.event(Event::Finished {
                    step: &step,
                    cached: true,
                });
                continue;
            }
            if descriptor.size > left.bytes {
                let reason = format!(
                    "layer {} is larger than an image may be",
                    descriptor.digest.short()
                );
                return Err(ArchiveError::document("manifest", reason).into());
            }
            pull.blob(&descriptor, &archive).await?;
            let telling = Arc::clone(&progress);
            let mut budget = left;
            let path = archive.clone();
            left = self
                .working(move |store, cancel| {
                    store.add_layer(
                        &path,
                        &descriptor,
                        &diff_id,
                        &mut budget,
                        cancel,
                        telling.as_ref(),
                    )?;
                    Ok(budget)
                })
                .await?;
            tokio::fs::remove_file(&archive).await.at(&archive)?;
        }
        self.publish(&reference.short(), &config_bytes, &manifest_bytes, [])
    }
}

struct Pull<'a> {
    client: Client,
    progress: &'a dyn Progress,
}

impl Pull<'_> {
    async fn manifest(&mut self, reference: &Reference) -> Result<(Vec<u8>, Manifest), ImageError> {
        let step = "manifest";
        self.progress.event(Event::Started { step, total: None });
        let mut version = reference.version();
        let mut expected = reference.digest.clone();
        // An index of indexes is allowed and never seen.
        for _ in 0..3 {
            let accept = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
            let answer = self
                .client
                .get(&format!("manifests/{version}"), &accept, 0)
                .await?;
            let promised = answer
                .headers()
                .get("docker-content-digest")
                .and_then(|header| header.to_str().ok()?.parse::<Digest>().ok());
            let bytes = self.client.body(answer, "the manifest").await?;
            for expected in [&expected, &promised].into_iter().flatten() {
                verify("the manifest", expected, Digest::of(&bytes))?;
            }
            if let Ok(index) = serde_json::from_slice::<Index>(&bytes) {
                let chosen = incoming::choose(&index)?;
                version = chosen.digest.to_string();
                expected = Some(chosen.digest.clone());
                continue;
            }
            let manifest = parse("manifest", &bytes)?;
            self.progress.event(Event::Finished {
                step,
                cached: false,
            });
            return Ok((bytes, manifest));
        }
        Err(ArchiveError::document("index", "it is nested too deeply").into())
    }

    async fn config(&mut self, manifest: &Manifest) -> Result<Vec<u8>, ImageError> {
        let digest = &manifest.config.digest;
        let answer = self
            .client
            .get(&format!("blobs/{digest}"), "*/*", 0)
            .await?;
        let bytes = self.client.body(answer, "the config").await?;
        verify("the config", digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Downloads a blob. Its digest is checked when it is unpacked.
    async fn blob(&mut self, descriptor: &Descriptor, to: &Path) -> Result<(), ImageError> {
        let step = format!("download {}", descriptor.digest.short());
        self.progress.event(Event::Started {
            step: &step,
            total: Some(descriptor.size),
        });
        let mut file = tokio::fs::File::create(to).await.at(to)?;
        let mut done = 0;
        let mut failures = 0;
        loop {
            let before = done;
            match self
                .attempt(descriptor, &step, &mut file, &mut done, to)
                .await
            {
                Ok(()) => break,
                Err(error) if !could_retry(&error) => return Err(error),
                Err(error) => {
                    failures = if done > before { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(error);
                    }
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        done,
                        "download broke off"
                    );
                    tokio::time::sleep(FIRST_WAIT * 2u32.pow(failures - 1)).await;
                }
            }
        }
        file.flush().await.at(to)?;
        self.progress.event(Event::Finished {
            step: &step,
            cached: false,
        });
        Ok(())
    }

    async fn attempt(
        &mut self,
        descriptor: &Descriptor,
        step: &str,
        file: &mut tokio::fs::File,
        done: &mut u64,
        to: &Path,
    ) -> Result<(), ImageError> {
        let part = format!("blobs/{}", descriptor.digest);
        let mut answer = self.client.get(&part, "*/*", *done).await?;
        if *done > 0 && answer.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            // The registry knows no ranges and begins anew.
            use tokio::io::AsyncSeekExt as _;
            file.set_len(0).await.at(to)?;
            file.rewind().await.at(to)?;
            *done = 0;
        }
        let broken = |source| PullError::Broken {
            registry: self.client.registry().to_owned(),
            what: part.clone(),
            attempts: ATTEMPTS,
            source,
        };
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            *done += chunk.len() as u64;
            if *done > descriptor.size {
                let reason = format!("layer {} is longer than it says", descriptor.digest.short());
                return Err(ArchiveError::document("manifest", reason).into());
            }
            file.write_all(&chunk).await.at(to)?;
            self.progress.event(Event::Bytes { step, done: *done });
        }
        Ok(())
    }
}

/// Whether the same request may work a moment later.
fn could_retry(error: &ImageError) -> bool {
    match error {
        ImageError::Pull(PullError::Broken { .. } | PullError::Unreachable { .. }) => true,
        ImageError::Pull(PullError::Status { status, .. }) => *status == 429 || *status >= 500,
        _ => false,
    }
}
