//! The base image, which takes minutes to build and is built once for all runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// An image store that holds `base`, built through the command that a user has. Quick when it is up to date.
///
/// # Errors
/// With what the command said when it fails.
pub async fn base_image(binary: &Path) -> anyhow::Result<PathBuf> {
    let data = cache()?.join("data");
    std::fs::create_dir_all(&data)?;
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base");
    let build = tokio::process::Command::new(binary)
        .args(["image", "build"])
        .arg(&recipe)
        .arg("--data")
        .arg(&data)
        .output()
        .await?;
    ensure!(
        build.status.success(),
        "the base image: {}",
        String::from_utf8_lossy(&build.stderr)
    );
    Ok(data.join("images"))
}

/// Where things that outlive a run are kept: what they hold is named by its content.
///
/// # Errors
/// When the environment does not say where that is.
pub fn cache() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(home
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("glasshouse")
        .join("tests"))
}
