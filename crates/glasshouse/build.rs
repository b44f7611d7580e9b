//! Puts the recipe of the base image into the program, so that `glasshouse up` finds it wherever the program is.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base");
    println!("cargo::rerun-if-changed={}", recipe.display());
    let mut files = Vec::new();
    collect(&recipe, &recipe, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for (name, path) in &files {
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        writeln!(code, "    ({name:?}, {mode:#o}, include_bytes!({path:?})),")
            .expect("a string takes everything");
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the output directory"));
    fs::write(out.join("recipe.rs"), code)
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
