//! What a template is made from: a directory with `template.toml` and `files/`.

use std::collections::BTreeMap;
use std::path::Path;

use glass_api::TemplateDefaults;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::files::{Files, ours};
use crate::failure::{Failure, Naming};

/// The manifest of an app, in its workspace.
pub(super) const MANIFEST: &str = "glasshouse.yaml";
const TOML: &str = "template.toml";
/// The directory beside those of recipes that has files of several.
const SHARED: &str = "shared";

/// `template.toml`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipeFile {
    /// a-z, 0-9 and -
    pub(super) name: String,
    /// For people.
    pub(super) title: String,
    /// For people.
    pub(super) description: String,
    #[serde(default = "base")]
    pub(super) image: String,
    /// Shell commands that make it ready, one after another, in the workspace: `npm install`.
    #[serde(default)]
    pub(super) prepare: Vec<String>,
    /// A shell command that succeeds as soon as what its app caches is on disk. Asked while the app is tried.
    pub(super) cached: Option<String>,
    /// What its sandboxes have unless their owner wants otherwise.
    #[serde(default)]
    pub(super) defaults: TemplateDefaults,
    /// Starter files that it has in common with other recipes: where each goes in the workspace, and what it is called
    /// in the directory `shared` beside the recipe's own.
    #[serde(default)]
    shared: BTreeMap<String, String>,
}

fn base() -> String {
    crate::recipe::BASE.to_owned()
}

/// A recipe with all that it needs.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) file: RecipeFile,
    /// What the workspace begins with.
    pub(super) files: Files,
    /// Of all of it.
    digest: String,
}

impl Recipe {
    /// The recipe of a template that comes with this program, or of a directory.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        if ours().contains(&name) {
            return Self::ours(name);
        }
        let directory = Path::new(name);
        if !directory.join(TOML).is_file() {
            let message = format!("{name:?} is neither a template nor a directory with a {TOML}");
            let known = ours().join(", ");
            let hint = format!("templates that come with glasshouse: {known}");
            return Err(Failure::usage(message).with_hint(hint));
        }
        let naming = || format!("cannot read {name}");
        let directory = directory.canonicalize().naming(naming)?;
        let beside = directory.with_file_name(SHARED);
        let shared = || match beside.is_dir() {
            true => Files::of_directory(&beside),
            false => Ok(Files::default()),
        };
        Self::of(name, &Files::of_directory(&directory)?, shared)
    }

    /// The recipe of a template that comes with this program.
    pub(super) fn ours(name: &str) -> Result<Self, Failure> {
        Self::of(name, &Files::of_program(name), || {
            Ok(Files::of_program(SHARED))
        })
    }

    fn of(
        name: &str,
        all: &Files,
        shared: impl FnOnce() -> Result<Files, Failure>,
    ) -> Result<Self, Failure> {
        let text = all.text(TOML).unwrap_or_default();
        let file: RecipeFile = toml::from_str(text)
            .map_err(|error| Failure::new(format!("{name}/{TOML} is not valid: {error}")))?;
        let mut files = all.below("files");
        if !file.shared.is_empty() {
            let shared = shared()?;
            for (path, source) in &file.shared {
                let Some(found) = shared.0.get(source) else {
                    let message = format!(
                        "{name}/{TOML}: shared: there is no {SHARED}/{source} for {path:?}"
                    );
                    return Err(Failure::new(message)
                        .with_hint(format!("{SHARED} is a directory beside the recipe's")));
                };
                files.0.insert(path.clone(), found.clone());
            }
        }
        let mut hash = Sha256::new();
        hash.update(text);
        files.digest(&mut hash);
        Ok(Self {
            file,
            files,
            digest: hex(&hash.finalize()),
        })
    }

    /// The manifest of its app, where the starter files have one.
    pub(super) fn manifest(&self) -> Option<&str> {
        self.files.text(MANIFEST)
    }

    /// What decides whether a template is up to date: the recipe, and the image it was made from where that is known.
    pub(super) fn digest_on(&self, image: Option<&str>) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.digest);
        hash.update(image.unwrap_or_default());
        format!("sha256:{}", hex(&hash.finalize()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests;
