//! A server, and a native runtime of the benchmark's own beside it, over the same image and the same file system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use glass_image::ImageStore;
use glass_runtime::native::{NativeConfig, NativeRuntime};
use glass_runtime::{Runtime, SandboxSpec};
use glass_testing::{ServerOptions, TestServer, base_image};
use glass_types::{Isolation, Limits, RootMode, SandboxId};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the guest offers the gateway; each sandbox has a network of its own, so all may have the same.
const GATEWAY_PORT: u16 = 49_982;

/// Where everything is measured.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) server: TestServer,
    /// Makes sandboxes without a server.
    pub(crate) runtime: Arc<NativeRuntime>,
    /// The way into the server's sandboxes past the server.
    pub(crate) behind: NativeRuntime,
    pub(crate) client: reqwest::Client,
    token: String,
    layers: Vec<PathBuf>,
    env: BTreeMap<String, String>,
    directory: TempDir,
}

impl Place {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_glasshouse"));
        let images = base_image(&binary).await?;
        let image = ImageStore::open(&images)?.get("base")?;
        let directory = tempfile::Builder::new()
            .prefix("glasshouse-bench-")
            .tempdir_in("/var/tmp")?;
        let agents = directory.path().join("agents");
        crate::events::write_agent(&agents)?;
        let server = TestServer::start(ServerOptions {
            binary,
            runtime: "native",
            images: Some(images),
            env: vec![("GLASSHOUSE_AGENTS".into(), agents.display().to_string())],
        })
        .await?;
        let runtime = |state_dir| NativeRuntime::new(NativeConfig { state_dir });
        Ok(Self {
            runtime: Arc::new(runtime(directory.path().join("runtime"))?),
            behind: runtime(server.data().join("runtime"))?,
            client: reqwest::Client::builder().no_proxy().build()?,
            token: server.token()?,
            layers: image.layers,
            env: image.config.env.into_iter().collect(),
            server,
            directory,
        })
    }

    /// What a sandbox without any wishes is.
    pub(crate) fn spec(&self) -> SandboxSpec {
        SandboxSpec {
            id: SandboxId::random(),
            layers: self.layers.clone(),
            env: self.env.clone(),
            limits: Limits::default(),
            gateway_port: GATEWAY_PORT,
            root: RootMode::ThrowAway,
            isolation: Isolation::Container,
            from: None,
        }
    }

    /// The directories of the image, the uppermost first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().map(PathBuf::as_path)
    }

    /// A directory on the file system that sandboxes are on.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A request to the API, over a connection that is kept.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let request = self
            .client
            .request(method.parse()?, self.server.url(path))
            .bearer_auth(&self.token);
        Ok(request)
    }

    /// The same, with its answer.
    pub(crate) async fn api(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{method} {path}: {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Makes a sandbox of the server's.
    pub(crate) async fn sandbox(&self) -> anyhow::Result<SandboxId> {
        let made = self.api("POST", "/v1/sandboxes", Some(json!({}))).await?;
        Ok(made["id"].as_str().context("no id")?.parse()?)
    }

    /// Does something with one of the server's sandboxes.
    pub(crate) async fn power(&self, sandbox: &SandboxId, action: &str) -> anyhow::Result<Value> {
        self.api("POST", &format!("/v1/sandboxes/{sandbox}/{action}"), None)
            .await
    }

    /// Removes one of the server's sandboxes.
    pub(crate) async fn remove(&self, sandbox: &SandboxId) -> anyhow::Result<()> {
        self.api("DELETE", &format!("/v1/sandboxes/{sandbox}"), None)
            .await
            .map(drop)
    }

    /// Runs a command in one of the server's sandboxes, which must succeed.
    pub(crate) async fn exec(
        &self,
        sandbox: &SandboxId,
        command: Value,
        stdin: Option<&str>,
    ) -> anyhow::Result<()> {
        let body = json!({ "command": command, "stdin": stdin });
        let path = format!("/v1/sandboxes/{sandbox}/exec");
        let done = self.api("POST", &path, Some(body)).await?;
        ensure!(done["exit_code"] == 0, "{command}: {done}");
        Ok(())
    }

    /// Removes what a run that failed has left; the server removes its own.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        for status in self.runtime.list().await? {
            self.runtime.destroy(&status.id).await?;
        }
        Ok(())
    }
}
