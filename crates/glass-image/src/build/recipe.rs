//! `recipe.toml`, and what of it makes a layer different from another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::build::BuildError;
use crate::digest::{Digest, Hasher};
use crate::index::Named;
use crate::spec::{LAYERS_LIMIT, Platform, RunConfig};

const FILE: &str = "recipe.toml";
/// More than this is no recipe but somebody's home directory.
const FILES_LIMIT: usize = 1_000;
const BYTES_LIMIT: u64 = 64 << 20;

/// A recipe, checked.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: RunConfig,
}

#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) step: Step,
    /// The same for layers that would come out the same: their step, all files it can read, and the layers below.
    pub(crate) key: Digest,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// A new Debian system.
    Debian {
        suite: String,
        packages: Vec<String>,
    },
    /// A script that changes the layers below.
    Script(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    name: String,
    layers: Vec<LayerTable>,
    #[serde(default)]
    config: ConfigTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerTable {
    name: String,
    suite: Option<String>,
    #[serde(default)]
    packages: Vec<String>,
    script: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ConfigTable {
    user: Option<String>,
    workdir: Option<String>,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    ports: Vec<u16>,
}

impl Recipe {
    pub(crate) fn read(dir: &Path) -> Result<Self, BuildError> {
        let files = files(dir)?;
        let path = dir.join(FILE);
        let invalid = |reason: String| BuildError::Recipe {
            path: path.clone(),
            reason,
        };
        let Some(text) = files.get(FILE) else {
            return Err(BuildError::NoRecipe {
                dir: dir.to_owned(),
            });
        };
        let text = std::str::from_utf8(text).map_err(|e| invalid(e.to_string()))?;
        let file: RecipeFile =
            toml::from_str(text).map_err(|e| invalid(e.to_string().trim_end().to_owned()))?;
        if !matches!(Named::parse(&file.name), Ok(Named::Tag(_))) {
            return Err(invalid(format!(
                "name `{}` is not a valid image name",
                file.name
            )));
        }
        if file.layers.is_empty() || file.layers.len() > LAYERS_LIMIT {
            return Err(invalid(format!("layers: 1 to {LAYERS_LIMIT} are possible")));
        }
        if let Some(bad) = file.config.env.iter().find(|pair| !pair.contains('=')) {
            return Err(invalid(format!(
                "config.env: `{bad}` is not of the form NAME=value"
            )));
        }

        let scripts: BTreeSet<&str> = file
            .layers
            .iter()
            .filter_map(|l| l.script.as_deref())
            .collect();
        let mut key = Digest::of(Platform::host().architecture.as_bytes());
        let mut layers = Vec::new();
        for (position, table) in file.layers.iter().enumerate() {
            let step = step(position, table, &files)
                .map_err(|e| invalid(format!("layer `{}`: {e}", table.name)))?;
            key = layer_key(&key, &step, &files, &scripts);
            layers.push(Layer {
                name: table.name.clone(),
                step,
                key: key.clone(),
            });
        }
        let list = |list: Vec<String>| Some(list).filter(|l| !l.is_empty());
        let ports: BTreeMap<_, _> = file
            .config
            .ports
            .iter()
            .map(|port| (format!("{port}/tcp"), serde_json::json!({})))
            .collect();
        Ok(Self {
            dir: dir.to_owned(),
            name: file.name,
            layers,
            config: RunConfig {
                user: file.config.user,
                env: list(file.config.env),
                entrypoint: list(file.config.entrypoint),
                cmd: list(file.config.cmd),
                working_dir: file.config.workdir,
                exposed_ports: Some(ports).filter(|p| !p.is_empty()),
            },
        })
    }

    /// The same for recipes that give the same image.
    pub(crate) fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        for layer in &self.layers {
            hasher.part(layer.key.hex().as_bytes());
        }
        hasher
            .part(&serde_json::to_vec(&self.config).expect("strings and numbers are always JSON"));
        hasher.finish()
    }
}

fn step(
    position: usize,
    table: &LayerTable,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Step, String> {
    match (&table.suite, &table.script) {
        (Some(suite), None) if position == 0 => {
            let word = |text: &str| {
                text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    && text
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.:".contains(c))
            };
            if let Some(bad) = table
                .packages
                .iter()
                .chain([suite])
                .find(|text| !word(text))
            {
                return Err(format!("`{bad}` is no name of a Debian package or suite"));
            }
            Ok(Step::Debian {
                suite: suite.clone(),
                packages: table.packages.clone(),
            })
        }
        (None, Some(script)) if position > 0 && table.packages.is_empty() => {
            if files.contains_key(script) {
                Ok(Step::Script(script.clone()))
            } else {
                Err(format!(
                    "script `{script}` is not in the recipe's directory"
                ))
            }
        }
        _ => Err(
            "the first layer needs `suite` and `packages`, every other one `script` alone"
                .to_owned(),
        ),
    }
}

fn layer_key(
    below: &Digest,
    step: &Step,
    files: &BTreeMap<String, Vec<u8>>,
    scripts: &BTreeSet<&str>,
) -> Digest {
    let mut hasher = Hasher::default();
    hasher.part(below.hex().as_bytes());
    match step {
        Step::Debian { suite, packages } => {
            hasher.part(b"debian");
            hasher.part(suite.as_bytes());
            let packages: BTreeSet<_> = packages.iter().collect();
            for package in packages {
                hasher.part(package.as_bytes());
            }
        }
        Step::Script(script) => {
            hasher.part(b"script");
            // A script may read every file of the recipe but has no business with the other scripts.
            for (path, bytes) in files {
                let other = scripts.contains(path.as_str()) && path != script;
                if !other && path != FILE && path != "Containerfile" {
                    hasher.part(path.as_bytes());
                    hasher.part(bytes);
                }
            }
        }
    }
    hasher.finish()
}

/// All files of a recipe's directory, by their path in it.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
    let mut found = BTreeMap::new();
    let mut bytes = 0;
    let mut pending = vec![dir.to_owned()];
    let read = |path: &Path, source| BuildError::Read {
        path: path.to_owned(),
        source,
    };
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).map_err(|e| read(&next, e))? {
            let path = entry.map_err(|e| read(&next, e))?.path();
            let metadata = fs::symlink_metadata(&path).map_err(|e| read(&path, e))?;
            if metadata.is_dir() {
                pending.push(path);
                continue;
            }
            bytes += metadata.len();
            if !metadata.is_file() || found.len() >= FILES_LIMIT || bytes > BYTES_LIMIT {
                return Err(BuildError::Recipe {
                    path,
                    reason: format!(
                        "a recipe's directory holds plain files only, at most {FILES_LIMIT} of together {} MiB",
                        BYTES_LIMIT >> 20
                    ),
                });
            }
            let name = path
                .strip_prefix(dir)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            let content = fs::read(&path).map_err(|e| read(&path, e))?;
            found.insert(name, content);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
