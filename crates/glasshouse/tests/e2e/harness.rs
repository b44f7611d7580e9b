//! What every test of the suite begins with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};

use glass_testing::{ServerOptions, TestServer, base_image};
use tokio::sync::OnceCell;

/// How long a page may take until it shows what a test waits for.
pub(crate) const PAGE: Duration = Duration::from_secs(20);

/// A server with native sandboxes and the base image.
pub(crate) async fn server() -> anyhow::Result<TestServer> {
    server_with(&[]).await
}

/// The same with something in its environment.
pub(crate) async fn server_with(env: &[(&str, &str)]) -> anyhow::Result<TestServer> {
    TestServer::start(options(env).await?).await
}

/// What such a server is made with.
pub(crate) async fn options(env: &[(&str, &str)]) -> anyhow::Result<ServerOptions> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "native sandboxes need root: run the tests with sudo"
    );
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Ok(ServerOptions {
        binary: binary(),
        runtime: "native",
        images: Some(images().await?),
        env,
    })
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_glasshouse"))
}

/// An image store that holds `base`.
pub(crate) async fn images() -> anyhow::Result<PathBuf> {
    static IMAGES: OnceCell<PathBuf> = OnceCell::const_new();
    let images = IMAGES.get_or_try_init(|| async { base_image(&binary()).await });
    images.await.cloned()
}

/// The last line of what `glasshouse new` or `ask` printed: the preview URL.
pub(crate) fn preview_url(printed: &str) -> anyhow::Result<String> {
    let last = printed.trim_end().lines().last().unwrap_or_default().trim();
    ensure!(
        last.starts_with("http://3000-") && last.contains(".preview.localhost:"),
        "no preview URL at the end of:\n{printed}"
    );
    Ok(last.to_owned())
}

/// The sandbox of a preview URL.
pub(crate) fn sandbox_of(url: &str) -> anyhow::Result<String> {
    let host = url
        .strip_prefix("http://3000-")
        .and_then(|rest| rest.split('.').next());
    Ok(host.context("no sandbox in the URL")?.to_owned())
}
