//! From a recipe to a template: a sandbox is made, filled, prepared, stopped and kept as a snapshot.
//!
//! All of it goes through the API, as anybody could do it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use glass_api::{
    Code, CreateParams, ExecChunk, ExecCommand, ExecParams, SandboxView, SnapshotParams,
    SnapshotView, TemplateParams, TemplateView,
};
use reqwest::Method;
use serde_json::json;

use super::recipe::Recipe;
use crate::client::{Client, Next};
use crate::command::cp;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::{Spinner, plain};

/// How long one command may take: the most that the API allows.
const PATIENCE_MS: u64 = 60 * 60 * 1000;
/// Bytes of output that are kept for whoever has to find out why a command failed.
const TAIL: usize = 4096;

/// Makes a template, unless it is up to date.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    recipe: &Recipe,
    force: bool,
) -> Result<TemplateView, Failure> {
    let before = existing(client, &recipe.file.name).await?;
    if let Some(view) = &before
        && !force
        && view.digest.as_deref() == Some(&recipe.digest)
    {
        context
            .out
            .note(format!("template {} is up to date", view.name));
        return Ok(view.clone());
    }
    let spinner = Spinner::new(!context.json && context.out.is_terminal());
    let say = |what: &str| spinner.say(&format!("{}: {what}", recipe.file.title));
    say("making a sandbox");
    let params = CreateParams {
        image: Some(recipe.file.image.clone()),
        root: recipe.file.defaults.root.clone(),
        limits: recipe.file.defaults.limits.clone(),
        env: recipe.file.defaults.env.clone(),
        labels: [("glasshouse.template".to_owned(), recipe.file.name.clone())].into(),
        ..CreateParams::default()
    };
    let sandbox: SandboxView = client.post("/v1/sandboxes", &params).await?;
    let made = make(context, client, recipe, &sandbox.id, &say).await;
    // The template has its own copy, and a failed attempt is of no use. What the removal says matters less.
    let _ = client
        .done(Method::DELETE, &format!("/v1/sandboxes/{}", sandbox.id))
        .await;
    let made = made?;
    if let Some(old) = before.and_then(|view| view.snapshot) {
        client
            .done(Method::DELETE, &format!("/v1/snapshots/{old}"))
            .await?;
    }
    Ok(made)
}

async fn existing(client: &Client, name: &str) -> Result<Option<TemplateView>, Failure> {
    match client.get(&super::path(name)).await {
        Ok(view) => Ok(Some(view)),
        Err(failure)
            if failure
                .problem()
                .is_some_and(|problem| problem.code == Code::TemplateNotFound) =>
        {
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

async fn make(
    context: &Context,
    client: &Client,
    recipe: &Recipe,
    sandbox: &str,
    say: &impl Fn(&str),
) -> Result<TemplateView, Failure> {
    let path = format!("/v1/sandboxes/{sandbox}");
    if let Some(files) = recipe.files() {
        say("copying files");
        cp::upload_contents(context, client, &files, sandbox).await?;
    }
    for command in &recipe.file.prepare {
        say(command);
        execute(client, sandbox, command, say).await?;
    }
    say("keeping its files");
    let _: SandboxView = client.post(&format!("{path}/stop"), &json!({})).await?;
    let kept = SnapshotParams {
        name: Some(format!("template {}", recipe.file.name)),
        ..SnapshotParams::default()
    };
    let snapshot: SnapshotView = client.post(&format!("{path}/snapshots"), &kept).await?;
    let params = TemplateParams {
        description: recipe.file.description.clone(),
        snapshot: Some(snapshot.id),
        image: None,
        manifest: recipe.manifest(),
        defaults: recipe.file.defaults.clone(),
        digest: Some(recipe.digest.clone()),
    };
    super::put(client, &recipe.file.name, &params).await
}

/// Runs a command in the sandbox's shell, showing the last line it printed. One that fails says what it printed last.
async fn execute(
    client: &Client,
    sandbox: &str,
    command: &str,
    say: &impl Fn(&str),
) -> Result<(), Failure> {
    let params = ExecParams {
        command: ExecCommand::Shell(command.to_owned()),
        cwd: None,
        env: [("CI".to_owned(), "1".to_owned())].into(),
        stdin: None,
        user: None,
        timeout_ms: Some(PATIENCE_MS),
    };
    let path = format!("/v1/sandboxes/{sandbox}/exec");
    let request = client.request(Method::POST, &path, &[]).json(&params);
    let mut messages = client.stream(request).await?;
    let mut tail = String::new();
    while let Next::Message(message) = messages.next().await? {
        match serde_json::from_str::<ExecChunk>(&message.data) {
            Ok(ExecChunk::Stdout { data } | ExecChunk::Stderr { data }) => {
                let bytes = STANDARD.decode(data).unwrap_or_default();
                tail.push_str(&plain(&String::from_utf8_lossy(&bytes)));
                let surplus = tail.len().saturating_sub(TAIL);
                tail.drain(..tail.ceil_char_boundary(surplus));
                if let Some(line) = tail.lines().rfind(|line| !line.trim().is_empty()) {
                    say(&format!("{command}: {line}"));
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
                return Err(Failure::new(format!("`{command}` {how}:\n{}", tail.trim()))
                    .with_hint("the sandbox it ran in is gone; the template is as it was"));
            }
            Ok(ExecChunk::Start { .. }) | Err(_) => {}
        }
    }
    Err(Failure::new(format!(
        "the connection ended before `{command}` did"
    )))
}
