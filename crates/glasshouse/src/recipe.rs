//! The recipe of the base image, which is part of this program.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::failure::{Failure, Naming};

/// The image that sandboxes start from unless told otherwise.
pub(crate) const BASE: &str = "base";

/// Name, mode and content of each file.
const FILES: &[(&str, u32, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recipe.rs"));

/// The recipe as a directory, which goes with the value.
pub(crate) fn unpack() -> Result<TempDir, Failure> {
    let naming = || "cannot unpack the recipe of the base image".to_owned();
    let directory = TempDir::with_prefix("glasshouse-recipe-").naming(naming)?;
    for (name, mode, content) in FILES {
        let path = directory.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).naming(naming)?;
        }
        fs::write(&path, content).naming(naming)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).naming(naming)?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_is_whole() {
        let directory = unpack().unwrap();
        let recipe = fs::read_to_string(directory.path().join("recipe.toml")).unwrap();
        assert!(recipe.contains("name = \"base\""), "{recipe}");
        for (name, mode, content) in FILES {
            let path = directory.path().join(name);
            assert_eq!(fs::read(&path).unwrap(), *content, "{name}");
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                *mode
            );
        }
    }
}
