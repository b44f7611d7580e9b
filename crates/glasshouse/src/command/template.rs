//! `glasshouse template`

mod build;
mod files;
mod list;
mod prepare;
mod recipe;
mod registries;
mod steps;

use std::process::ExitCode;

use glass_api::{SnapshotParams, SnapshotView, TemplateParams, TemplateView};
use reqwest::Method;
use serde_json::json;

use self::recipe::Recipe;
use crate::cli::{SaveArguments, TemplateCommand};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

/// Whether a template comes with this program.
pub(super) fn is_ours(name: &str) -> bool {
    files::ours().contains(&name)
}

/// Makes a template that comes with this program.
pub(super) async fn make(context: &Context, client: &Client, name: &str) -> Result<(), Failure> {
    build::run(context, client, &Recipe::ours(name)?, false)
        .await
        .map(drop)
}

pub(crate) async fn run(context: &Context, command: TemplateCommand) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    match command {
        TemplateCommand::Ls => list::run(context, &client).await?,
        TemplateCommand::Build { templates, force } => {
            let names = if templates.is_empty() {
                files::ours().into_iter().map(str::to_owned).collect()
            } else {
                templates
            };
            build_all(context, &client, &names, force).await?;
        }
        TemplateCommand::Save(arguments) => save(context, &client, arguments).await?,
        TemplateCommand::Show { name } => {
            let view: TemplateView = client.get(&path(&name)).await?;
            context.out.json(&view)?;
        }
        TemplateCommand::Rm { names } => {
            for name in &names {
                client.done(Method::DELETE, &path(name)).await?;
                if !context.printed_as_json(&json!({ "name": name, "removed": true }))? {
                    context.out.line(name)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes templates one after another. One that fails does not keep the others from being made.
async fn build_all(
    context: &Context,
    client: &Client,
    names: &[String],
    force: bool,
) -> Result<(), Failure> {
    // All recipes are read before the first is worked on: a wrong name should not come after minutes.
    let recipes: Vec<Recipe> = names
        .iter()
        .map(|name| Recipe::named(name))
        .collect::<Result<_, _>>()?;
    let mut failed = Vec::new();
    for recipe in &recipes {
        let name = recipe.file.name.as_str();
        match build::run(context, client, recipe, force).await {
            Ok(view) => {
                if !context.printed_as_json(&view)? {
                    context.out.line(&view.name)?;
                }
            }
            Err(failure) if recipes.len() == 1 || failure.is_interrupt() => return Err(failure),
            Err(failure) => {
                failure.report(context.json);
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let (many, all, names) = (failed.len(), recipes.len(), failed.join(", "));
    Err(Failure::new(format!(
        "{many} of {all} templates were not made: {names}"
    )))
}

fn path(name: &str) -> String {
    format!("/v1/templates/{name}")
}

async fn save(context: &Context, client: &Client, arguments: SaveArguments) -> Result<(), Failure> {
    let manifest = match &arguments.manifest {
        Some(file) => Some(
            std::fs::read_to_string(file).naming(|| format!("cannot read {}", file.display()))?,
        ),
        None => None,
    };
    let sandbox = resolve(client, &arguments.sandbox).await?;
    let snapshot: SnapshotView = client
        .post(
            &format!("/v1/sandboxes/{}/snapshots", sandbox.id),
            &SnapshotParams {
                name: Some(format!("template {}", arguments.name)),
                ..SnapshotParams::default()
            },
        )
        .await?;
    let params = TemplateParams {
        description: arguments.description,
        snapshot: Some(snapshot.id.clone()),
        manifest,
        ..TemplateParams::default()
    };
    let view = match put(client, &arguments.name, &params).await {
        Ok(view) => view,
        Err(failure) => {
            // Nobody else knows of it. Why the template was refused matters more than what the removal says.
            let path = format!("/v1/snapshots/{}", snapshot.id);
            let _ = client.done(Method::DELETE, &path).await;
            return Err(failure);
        }
    };
    if !context.printed_as_json(&view)? {
        context.out.line(&view.name)?;
    }
    Ok(())
}

/// Writes a template.
async fn put(
    client: &Client,
    name: &str,
    params: &TemplateParams,
) -> Result<TemplateView, Failure> {
    client
        .json(client.request(Method::PUT, &path(name), &[]).json(params))
        .await
}
