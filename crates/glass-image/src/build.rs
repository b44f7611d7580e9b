//! Makes an image from a recipe: a directory with `recipe.toml` and scripts.
//!
//! The first layer is a Debian system made by `mmdebstrap`. Each further one is what a script changes, caught by an
//! overlay mount. Every layer is remembered by a key of all that goes into it (see [`recipe`]), so a recipe that has
//! not changed costs nothing, and a changed script costs only the layers from there on.
//!
//! Scripts are trusted as much as whoever wrote the recipe: they run as root of the host, with the host's network, in
//! a chroot with namespaces that serve tidiness, not isolation.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cancel::Cancel;
use crate::digest::Digest;
use crate::error::{ImageError, IoContext};
use crate::image::Image;
use crate::import::manifest_for;
use crate::index::{Named, name_of};
use crate::pack;
use crate::progress::{Event, Progress};
use crate::spec::{Config, Descriptor, LAYER, Platform, RootFs};
use crate::store::{ImageStore, write};

mod debian;
mod environment;
mod program;
mod recipe;

pub use environment::{BuildOptions, CA_VARIABLES};

use recipe::{Layer, Recipe, Step};

/// Says in the index which recipe an image was made from.
const RECIPE: &str = "dev.glasshouse.recipe";
/// Runs in the namespaces of [`program::isolated`].
const ENTER: &str = include_str!("build/enter.sh");

/// Why a recipe gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory is no recipe.
    #[error("{} is not a recipe: it has no recipe.toml", dir.display())]
    NoRecipe {
        /// Which.
        dir: PathBuf,
    },
    /// The recipe is wrong.
    #[error("{}: {reason}", path.display())]
    Recipe {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of the recipe cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A program that building needs is not installed.
    #[error("building an image needs `{program}`; install it with `apt-get install {package}`")]
    Missing {
        /// Which.
        program: &'static str,
        /// Where it is in.
        package: &'static str,
    },
    /// A step failed.
    #[error("{step} failed ({status}); its last output:\n{output}")]
    Step {
        /// Which.
        step: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        output: String,
    },
}

impl ImageStore {
    /// Makes the image of a recipe and gives it the recipe's name. Does nothing when the store has it already.
    ///
    /// Dropping the future kills what runs and leaves nothing mounted.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build(
        &self,
        recipe_dir: &Path,
        options: BuildOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Image, ImageError> {
        let dir = std::fs::canonicalize(recipe_dir).map_err(|source| BuildError::Read {
            path: recipe_dir.to_owned(),
            source,
        })?;
        let recipe = Recipe::read(&dir)?;
        if !options.refresh
            && let Some(image) = self.built(&recipe)?
        {
            for layer in &recipe.layers {
                let step = step_name(layer);
                progress.event(Event::Started {
                    step: &step,
                    total: None,
                });
                progress.event(Event::Finished {
                    step: &step,
                    cached: true,
                });
            }
            return Ok(image);
        }
        self.working(move |store, cancel| {
            let job = Job {
                store,
                recipe: &recipe,
                options: &options,
                cancel,
                progress: progress.as_ref(),
            };
            job.run()
        })
        .await
    }

    /// The image that this recipe has given, when it is still there and complete.
    fn built(&self, recipe: &Recipe) -> Result<Option<Image>, ImageError> {
        let index = self.index()?;
        let key = recipe.key().to_string();
        Ok(Named::parse(&recipe.name)?
            .find(&index)
            .filter(|entry| entry.annotations.get(RECIPE) == Some(&key))
            .and_then(|entry| self.image(&name_of(entry), &entry.digest).ok()))
    }
}

fn step_name(layer: &Layer) -> String {
    format!("layer {}", layer.name)
}

struct Job<'a> {
    store: &'a ImageStore,
    recipe: &'a Recipe,
    options: &'a BuildOptions,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn run(&self) -> Result<Image, ImageError> {
        check_programs()?;
        let mut diff_ids = Vec::new();
        let mut remake = self.options.refresh;
        for layer in &self.recipe.layers {
            let step = step_name(layer);
            self.progress.event(Event::Started {
                step: &step,
                total: None,
            });
            let cached = if remake { None } else { self.cached(layer)? };
            let was_cached = cached.is_some();
            let diff_id = match cached {
                Some(diff_id) => diff_id,
                None => {
                    // A layer made anew may differ from the one that those above were made on.
                    remake = true;
                    self.make(&step, layer, &diff_ids)?
                }
            };
            self.progress.event(Event::Finished {
                step: &step,
                cached: was_cached,
            });
            diff_ids.push(diff_id);
        }
        self.publish(diff_ids)
    }

    fn cached(&self, layer: &Layer) -> Result<Option<Digest>, ImageError> {
        let file = self.cache_file(layer);
        let Some(diff_id) = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| text.parse().ok())
        else {
            return Ok(None);
        };
        Ok(self.store.layer_info(&diff_id)?.map(|_| diff_id))
    }

    fn cache_file(&self, layer: &Layer) -> PathBuf {
        self.store.root.join("cache").join(layer.key.hex())
    }

    fn make(&self, step: &str, layer: &Layer, below: &[Digest]) -> Result<Digest, ImageError> {
        let staging = self.store.staging()?;
        let tree = staging.path().join("tree");
        let on_line = |line: &str| self.progress.event(Event::Line { step, line });
        match &layer.step {
            Step::Debian { suite, packages } => {
                debian::make(
                    step,
                    &tree,
                    suite,
                    packages,
                    self.options,
                    self.cancel,
                    &on_line,
                )?;
            }
            Step::Script(script) => {
                let command = self.script_command(staging.path(), &tree, script, below)?;
                program::run(step, command, self.cancel, &on_line)?;
            }
        }
        on_line("computing the digest");
        let (diff_id, bytes) = pack::digest(&tree, self.cancel).map_err(|error| {
            if self.cancel.is_cancelled() {
                ImageError::Cancelled
            } else {
                ImageError::io(&tree, error)
            }
        })?;
        on_line("writing to disk");
        self.store.commit_layer(&tree, &diff_id, bytes)?;
        write(&self.cache_file(layer), diff_id.to_string().as_bytes())?;
        Ok(diff_id)
    }

    fn script_command(
        &self,
        staging: &Path,
        upper: &Path,
        script: &str,
        below: &[Digest],
    ) -> Result<Command, ImageError> {
        let [root, work] = ["root", "work"].map(|name| staging.join(name));
        for dir in [upper, &root, &work] {
            std::fs::create_dir(dir).at(dir)?;
        }
        // Overlayfs lists the highest layer first.
        let lower: Vec<_> = below
            .iter()
            .rev()
            .map(|diff_id| self.store.layer_dir(diff_id).to_string_lossy().into_owned())
            .collect();
        let mut command = program::isolated();
        command.envs(self.options.inside());
        command.args(["sh", "-c", ENTER, "enter"]);
        command
            .arg(&root)
            .arg(lower.join(":"))
            .arg(upper)
            .arg(&work)
            .arg(&self.recipe.dir);
        command
            .arg(
                self.options
                    .ca_bundle
                    .as_deref()
                    .unwrap_or_else(|| Path::new("")),
            )
            .arg(script);
        Ok(command)
    }

    fn publish(&self, diff_ids: Vec<Digest>) -> Result<Image, ImageError> {
        let platform = Platform::host();
        let mut layers = Vec::new();
        for diff_id in &diff_ids {
            let bytes = self.store.layer_info(diff_id)?.map_or(0, |info| info.bytes);
            layers.push(Descriptor::new(LAYER, diff_id.clone(), bytes));
        }
        let config = Config {
            created: Some(now()),
            architecture: platform.architecture,
            os: platform.os,
            config: self.recipe.config.clone(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids,
            },
        };
        let config = serde_json::to_vec(&config).expect("a config is always JSON");
        let manifest = manifest_for(&config, layers);
        let recipe = (RECIPE.to_owned(), self.recipe.key().to_string());
        self.store
            .publish(&self.recipe.name, &config, &manifest, [recipe])
    }
}

fn check_programs() -> Result<(), BuildError> {
    for (program, package) in [
        ("mmdebstrap", "mmdebstrap"),
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
    ] {
        match Command::new(program).arg("--version").output() {
            Ok(_) => {}
            Err(_) => return Err(BuildError::Missing { program, package }),
        }
    }
    Ok(())
}

/// The time in RFC 3339, which is what the `created` field of a config wants.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    rfc3339(seconds)
}

fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's `civil_from_days`: years begin in March, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 {
        (month + 3, year + era * 400)
    } else {
        (month - 9, year + era * 400 + 1)
    };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_767_225_599), "2025-12-31T23:59:59Z");
    }
}
