//! Puts the recipe of the base image and the templates into the program, so that it has them wherever it is.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    include(&root.join("images/base"), "recipe.rs")?;
    include(&root.join("templates"), "templates.rs")
}

/// Writes the files of a directory as a list of names, modes and contents.
fn include(directory: &Path, name: &str) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let mut files = Vec::new();
    collect(directory, directory, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for (name, path) in &files {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        writeln!(code, "    ({name:?}, {mode:#o}, include_bytes!({path:?})),")
            .expect("a string takes everything");
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output directory"));
    fs::write(out.join(name), code)
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = path
                .strip_prefix(root)
                .expect("the walk begins at the root");
            files.push((name.to_string_lossy().into_owned(), path.canonicalize()?));
        }
    }
    Ok(())
}
