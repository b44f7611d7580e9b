//! From a recipe to a template: a sandbox is made, prepared, stopped and kept as a snapshot.
//!
//! All of it goes through the API, as anybody could do it.

use glass_api::{
    Code, CreateParams, ImageList, SandboxView, SnapshotParams, SnapshotView, TemplateParams,
    TemplateView,
};
use reqwest::Method;
use serde_json::json;

use super::prepare::Preparation;
use super::recipe::Recipe;
use super::steps::Steps;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;

/// Makes a template, unless it is up to date.
pub(super) async fn run(
    context: &Context,
    client: &Client,
    recipe: &Recipe,
    force: bool,
) -> Result<TemplateView, Failure> {
    let name = &recipe.file.name;
    let before = existing(client, name).await?;
    let digest = recipe.digest_on(image_digest(client, &recipe.file.image).await?.as_deref());
    if let Some(view) = &before
        && !force
    {
        if view.digest.as_deref() == Some(&digest) {
            context.out.note(format!("template {name} is up to date"));
            return Ok(view.clone());
        }
        if view.digest.is_none() {
            let message = format!("there is a template {name} that was not built from a recipe");
            return Err(Failure::new(message)
                .with_hint("--force replaces it; `glasshouse template rm` removes it"));
        }
    }
    let mut steps = Steps::new(context, &recipe.file.title);
    steps.begin("making a sandbox");
    let mut params = CreateParams {
        image: Some(recipe.file.image.clone()),
        root: recipe.file.defaults.root.clone(),
        limits: recipe.file.defaults.limits.clone(),
        env: recipe.file.defaults.env.clone(),
        labels: [("glasshouse.template".to_owned(), name.clone())].into(),
        ..CreateParams::default()
    };
    // It is removed in a moment, and not to rest before.
    params.idle.always_on = Some(true);
    let sandbox: SandboxView = client.post("/v1/sandboxes", &params).await?;
    let path = format!("/v1/sandboxes/{}", sandbox.id);
    let made = tokio::select! {
        made = make(client, recipe, &path, digest, &mut steps) => made,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    };
    // The template has its own copy, and a failed attempt is of no use. What the removal says matters less.
    let _ = client.done(Method::DELETE, &path).await;
    let made = made?;
    steps.done();
    // A snapshot that somebody else made is not ours to remove.
    let old = before.filter(|view| view.digest.is_some());
    if let Some(old) = old.and_then(|view| view.snapshot) {
        let path = format!("/v1/snapshots/{old}");
        if let Err(failure) = client.done(Method::DELETE, &path).await {
            let message = failure.message();
            context
                .out
                .note(format!("its old snapshot {old} stays: {message}"));
        }
    }
    Ok(made)
}

/// The digest of an image of the server. None when it has none of that name.
async fn image_digest(client: &Client, name: &str) -> Result<Option<String>, Failure> {
    let list: ImageList = client.get("/v1/images").await?;
    let found = list.images.into_iter().find(|image| image.name == name);
    Ok(found.map(|image| image.digest))
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
    client: &Client,
    recipe: &Recipe,
    path: &str,
    digest: String,
    steps: &mut Steps<'_>,
) -> Result<TemplateView, Failure> {
    let preparation = Preparation {
        client,
        recipe,
        path,
    };
    preparation.run(steps).await.map_err(|failure| {
        let hint = "the sandbox it was made in is gone; nothing else has changed";
        failure.with_hint(hint)
    })?;
    steps.begin("keeping its files");
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
        manifest: recipe.manifest().map(str::to_owned),
        defaults: recipe.file.defaults.clone(),
        digest: Some(digest),
    };
    super::put(client, &recipe.file.name, &params).await
}
