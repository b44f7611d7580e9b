//! What a template is made from: a directory with `template.toml` and `files/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use glass_api::TemplateDefaults;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::failure::{Failure, Naming};

/// Name, mode and content of each file of the templates that come with this program, below `templates/`.
const FILES: &[(&str, u32, &[u8])] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));

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
    /// Shell commands that make it ready, one after another, in the workspace: `npm ci`.
    #[serde(default)]
    pub(super) prepare: Vec<String>,
    /// What its sandboxes have unless their owner wants otherwise.
    #[serde(default)]
    pub(super) defaults: TemplateDefaults,
}

fn base() -> String {
    crate::recipe::BASE.to_owned()
}

/// A recipe on disk.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) file: RecipeFile,
    directory: PathBuf,
    /// Digest of all of it, names and modes included.
    pub(super) digest: String,
    /// Kept as long as the recipe is needed, when it came out of this program.
    _unpacked: Option<TempDir>,
}

impl Recipe {
    /// The recipe of a template that comes with this program, or of a directory.
    pub(super) fn named(name: &str) -> Result<Self, Failure> {
        if ours().contains(&name) {
            return Self::ours(name);
        }
        let directory = Path::new(name);
        if directory.join("template.toml").is_file() {
            return Self::read(directory.to_owned(), None);
        }
        Err(Failure::usage(format!(
            "{name:?} is neither a template nor a directory with a template.toml"
        ))
        .with_hint(format!(
            "templates that come with glasshouse: {}",
            ours().join(", ")
        )))
    }

    /// The recipe of a template that comes with this program.
    pub(super) fn ours(name: &str) -> Result<Self, Failure> {
        let naming = || format!("cannot unpack the template {name}");
        let unpacked = TempDir::with_prefix("glasshouse-template-").naming(naming)?;
        for (file, mode, content) in FILES {
            let Some(below) = file
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('/'))
            else {
                continue;
            };
            let path = unpacked.path().join(below);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).naming(naming)?;
            }
            fs::write(&path, content).naming(naming)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).naming(naming)?;
        }
        Self::read(unpacked.path().to_owned(), Some(unpacked))
    }

    fn read(directory: PathBuf, unpacked: Option<TempDir>) -> Result<Self, Failure> {
        let path = directory.join("template.toml");
        let naming = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).naming(naming)?;
        let file = toml::from_str(&text)
            .map_err(|error| Failure::new(format!("{} is not valid: {error}", path.display())))?;
        let mut hash = Sha256::new();
        digest(&directory, &directory, &mut hash)
            .naming(|| format!("cannot read {}", directory.display()))?;
        Ok(Self {
            file,
            directory,
            digest: format!("sha256:{}", hex(&hash.finalize())),
            _unpacked: unpacked,
        })
    }

    /// The manifest of its app, where the starter files have one.
    pub(super) fn manifest(&self) -> Option<String> {
        fs::read_to_string(self.directory.join("files/glasshouse.yaml")).ok()
    }

    /// The starter files, where there are any.
    pub(super) fn files(&self) -> Option<PathBuf> {
        let files = self.directory.join("files");
        files.is_dir().then_some(files)
    }
}

/// Names of the templates that come with this program, in order.
pub(super) fn ours() -> Vec<&'static str> {
    FILES
        .iter()
        .filter_map(|(file, _, _)| file.strip_suffix("/template.toml"))
        .filter(|name| !name.contains('/'))
        .collect()
}

fn digest(root: &Path, directory: &Path, hash: &mut Sha256) -> std::io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.metadata()?);
        if kind.is_dir() {
            digest(root, &path, hash)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path);
        let content = fs::read(&path)?;
        // Lengths keep apart what would run together.
        for part in [name.as_os_str().as_encoded_bytes(), &content] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update((kind.permissions().mode() & 0o111 != 0).to_string());
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_that_comes_along_can_be_read() {
        for name in ours() {
            let recipe = Recipe::ours(name).unwrap();
            assert_eq!(recipe.file.name, name);
            assert!(!recipe.file.title.is_empty() && !recipe.file.description.is_empty());
        }
    }

    #[test]
    fn a_change_changes_the_digest() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = "name = 'x'\ntitle = 'X'\ndescription = 'x'\n";
        fs::write(dir.path().join("template.toml"), recipe).unwrap();
        let read = || Recipe::read(dir.path().to_owned(), None).unwrap().digest;
        let before = read();
        assert_eq!(before, read());
        fs::create_dir(dir.path().join("files")).unwrap();
        fs::write(dir.path().join("files/a"), "").unwrap();
        assert_ne!(before, read());
    }

    #[test]
    fn what_is_no_template_is_named() {
        let failure = Recipe::named("no-such").unwrap_err();
        assert!(failure.message().contains("no-such"), "{failure:?}");
    }
}
