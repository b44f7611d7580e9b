//! What `export` and `import` share.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::ProgressBar;

use crate::context::Context;
use crate::failure::Failure;
use crate::render::byte_bar;

/// Stands for standard input or output.
pub(super) const STREAM: &str = "-";

/// The format that a file's name says.
pub(super) fn format(path: &Path) -> Result<&'static str, Failure> {
    let name = path.to_string_lossy().to_ascii_lowercase();
    if name == STREAM || name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        return Ok("tar.gz");
    }
    if name.ends_with(".zip") {
        return Ok("zip");
    }
    Err(Failure::usage(format!(
        "the name {} does not say which kind of archive it is",
        path.display()
    ))
    .with_hint("give a name that ends with .tar.gz, .tgz or .zip"))
}

/// A bar over bytes, for whoever watches.
pub(super) fn bar(context: &Context, total: Option<u64>, name: &str) -> ProgressBar {
    if context.json || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        byte_bar(total, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        for (name, expected) in [
            ("a.tar.gz", "tar.gz"),
            ("a.TGZ", "tar.gz"),
            ("-", "tar.gz"),
            ("dir/b.Zip", "zip"),
        ] {
            assert_eq!(format(Path::new(name)).unwrap(), expected, "{name}");
        }
        for name in ["a.tar", "zip", "a.rar", ""] {
            assert!(format(Path::new(name)).is_err(), "{name}");
        }
    }
}
