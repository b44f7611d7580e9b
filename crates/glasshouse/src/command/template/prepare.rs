//! Makes a sandbox what a template is to be: its files, its packages, an app that was seen to work.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use glass_api::{AppView, ExecChunk, ExecCommand, ExecParams, FileView, ImportView};
use reqwest::Method;
use tokio::time::{Instant, sleep};

use super::recipe::{MANIFEST, Recipe};
use super::registries::Registries;
use super::steps::Steps;
use crate::client::{Client, Next};
use crate::command::image::registry_settings;
use crate::failure::{Failure, Naming};
use crate::render::plain;

/// How long one command may take: the most that the API allows.
const PATIENCE_MS: u64 = 60 * 60 * 1000;
/// How long an app may take to write its caches, after it has answered.
const CACHE_PATIENCE_MS: u64 = 2 * 60 * 1000;
/// Bytes of output that are kept for whoever has to find out why a command failed.
const TAIL: usize = 4096;
/// What the workspace has for a manifest while it is prepared: nothing is to run, and nothing to be installed, by the
/// supervisor, which would take what is not whole yet for an app.
const AT_REST: &str = "{}\n";
/// How long an app may take until it answers.
const START: Duration = Duration::from_secs(180);
/// After this a workspace that nothing was started in is taken for one without an app.
const QUIET: Duration = Duration::from_secs(12);
/// Nothing tells of an app that changes, so this asks again.
const LOOK: Duration = Duration::from_millis(250);

/// A sandbox that is made ready.
#[derive(Debug)]
pub(super) struct Preparation<'a> {
    pub(super) client: &'a Client,
    pub(super) recipe: &'a Recipe,
    /// Its path in the API.
    pub(super) path: &'a str,
}

impl Preparation<'_> {
    /// Does all of it.
    pub(super) async fn run(&self, steps: &mut Steps<'_>) -> Result<(), Failure> {
        if self.recipe.files.0.is_empty() && self.recipe.file.prepare.is_empty() {
            return Ok(());
        }
        steps.begin("copying files");
        self.write(MANIFEST, AT_REST).await?;
        self.unpack().await?;
        if !self.recipe.file.prepare.is_empty() {
            let registries = Registries::of(registry_settings());
            if let Some((file, inside)) = &registries.certificates {
                let text = std::fs::read(file)
                    .naming(|| format!("cannot read certificates in {}", file.display()))?;
                self.write(inside, text).await?;
            }
            for command in &self.recipe.file.prepare {
                steps.begin(command);
                self.execute(command, &registries.env, PATIENCE_MS, steps)
                    .await?;
            }
        }
        match self.recipe.manifest() {
            Some(manifest) => self.write(MANIFEST, manifest.to_owned()).await?,
            None => self.remove(MANIFEST).await?,
        }
        steps.begin("trying its app");
        self.try_app().await?;
        if let Some(cached) = &self.recipe.file.cached {
            steps.begin("waiting for its caches");
            // Only the app knows when it has leisure for them, and it tells nobody.
            let wait = format!("until {cached}; do sleep 0.2; done");
            self.execute(&wait, &[], CACHE_PATIENCE_MS, steps).await?;
        }
        Ok(())
    }

    async fn write(&self, path: &str, content: impl Into<reqwest::Body>) -> Result<(), Failure> {
        let url = format!("{}/files/content", self.path);
        let request = self.client.request(Method::PUT, &url, &[("path", path)]);
        let _: FileView = self.client.json(request.body(content)).await?;
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<(), Failure> {
        let url = format!("{}/files", self.path);
        let request = self.client.request(Method::DELETE, &url, &[("path", path)]);
        let removed = self.client.send(request).await;
        removed
            .map(drop)
            .map_err(|error| self.client.failure(error))
    }

    async fn unpack(&self) -> Result<(), Failure> {
        let packed = self.recipe.files.pack(MANIFEST);
        let packed = packed.naming(|| "cannot pack the starter files".to_owned())?;
        let url = format!("{}/archive", self.path);
        let query = [("format", "tar.gz")];
        let request = self.client.request(Method::PUT, &url, &query).body(packed);
        let _: ImportView = self.client.json(request).await?;
        Ok(())
    }

    /// Runs a command in the sandbox's shell. One that fails says what it printed last.
    async fn execute(
        &self,
        command: &str,
        env: &[(String, String)],
        timeout_ms: u64,
        steps: &Steps<'_>,
    ) -> Result<(), Failure> {
        let mut env: BTreeMap<_, _> = env.iter().cloned().collect();
        env.insert("CI".to_owned(), "1".to_owned());
        let params = ExecParams {
            command: ExecCommand::Shell(command.to_owned()),
            cwd: None,
            env,
            stdin: None,
            user: None,
            timeout_ms: Some(timeout_ms),
        };
        let url = format!("{}/exec", self.path);
        let request = self.client.request(Method::POST, &url, &[]).json(&params);
        let mut messages = self.client.stream(request).await?;
        let mut tail = String::new();
        while let Next::Message(message) = messages.next().await? {
            match serde_json::from_str::<ExecChunk>(&message.data) {
                Ok(ExecChunk::Stdout { data } | ExecChunk::Stderr { data }) => {
                    let bytes = STANDARD.decode(data).unwrap_or_default();
                    tail.push_str(&plain(&String::from_utf8_lossy(&bytes)));
                    let surplus = tail.len().saturating_sub(TAIL);
                    tail.drain(..tail.ceil_char_boundary(surplus));
                    if let Some(line) = tail.lines().rfind(|line| !line.trim().is_empty()) {
                        steps.detail(line);
                    }
                }
                Ok(ExecChunk::Exit { exit_code: 0, .. }) => return Ok(()),
                Ok(ExecChunk::Exit {
                    exit_code,
                    timed_out,
                }) => {
                    let how = if timed_out {
                        "took too long".to_owned()
                    } else {
                        format!("ended with {exit_code}")
                    };
                    return Err(Failure::new(format!("`{command}` {how}:\n{}", tail.trim())));
                }
                Ok(ExecChunk::Start { .. }) | Err(_) => {}
            }
        }
        Err(Failure::new(format!(
            "the connection ended before `{command}` did"
        )))
    }

    /// Waits until the app has answered its supervisor well. What it compiles and caches for that is kept, so the first
    /// preview of a sandbox is quick.
    async fn try_app(&self) -> Result<(), Failure> {
        let url = format!("{}/app", self.path);
        let began = Instant::now();
        loop {
            let app: AppView = self.client.get(&url).await?;
            let health = app.health.as_ref();
            let asked = app.kind != "static" && app.port.is_some();
            match app.state.as_str() {
                "running" if !asked || health.is_some_and(|health| health.healthy) => return Ok(()),
                "failed" => return Err(unsound("failed", &app)),
                "idle" if began.elapsed() > QUIET => return Ok(()),
                _ if began.elapsed() > START => return Err(unsound("does not answer", &app)),
                _ => sleep(LOOK).await,
            }
        }
    }
}

fn unsound(what: &str, app: &AppView) -> Failure {
    let health = app.health.as_ref();
    let health =
        health.and_then(|health| Some(format!("{}: {}", health.path, health.problem.as_ref()?)));
    let why = app.message.clone().or(health);
    let why = why.unwrap_or_else(|| format!("it is {}", app.state));
    Failure::new(format!("its app {what}: {}", plain(&why)))
}
