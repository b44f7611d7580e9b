//! `glasshouse template`

mod build;
mod recipe;

use std::process::ExitCode;

use glass_api::{SnapshotParams, SnapshotView, TemplateList, TemplateParams, TemplateView};
use reqwest::Method;
use serde_json::json;

use self::recipe::Recipe;
use crate::cli::{SaveArguments, TemplateCommand};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;
use crate::render::{Table, age, plain};

/// Whether a template comes with this program.
pub(super) fn is_ours(name: &str) -> bool {
    recipe::ours().contains(&name)
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
        TemplateCommand::Ls => list(context, &client).await?,
        TemplateCommand::Build { templates, force } => {
            let names = if templates.is_empty() {
                recipe::ours().into_iter().map(str::to_owned).collect()
            } else {
                templates
            };
            // All recipes are read before the first is worked on: a wrong name should not come after minutes.
            let recipes: Vec<Recipe> = names
                .iter()
                .map(|name| Recipe::named(name))
                .collect::<Result<_, _>>()?;
            for recipe in &recipes {
                let view = build::run(context, &client, recipe, force).await?;
                if !context.printed_as_json(&view)? {
                    context.out.line(&view.name)?;
                }
            }
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

fn path(name: &str) -> String {
    format!("/v1/templates/{name}")
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let list: TemplateList = client.get("/v1/templates").await?;
    if context.printed_as_json(&list)? {
        return Ok(());
    }
    let mut table = Table::new(&["TEMPLATE", "MADE", "IMAGE", "DESCRIPTION"]);
    for view in &list.templates {
        table.row(vec![
            view.name.clone(),
            age(view.created_at),
            plain(&view.image),
            plain(&view.description).replace('\n', " "),
        ]);
    }
    for name in recipe::ours() {
        if !list.templates.iter().any(|view| view.name == name) {
            let recipe = Recipe::ours(name)?;
            let image = recipe.file.image.clone();
            table.row(vec![
                name.to_owned(),
                "at first use".to_owned(),
                image,
                recipe.file.description.clone(),
            ]);
        }
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(())
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
