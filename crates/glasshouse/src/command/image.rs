//! `glasshouse image`: the store of the data directory, worked on directly.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use glass_api::{ImageList, ImageView, SandboxList};
use glass_image::{BuildOptions, Credentials, Image, ImageError, ImageStore, PullOptions};
use serde_json::json;

use super::serve::described;
use crate::cli::ImageCommand;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::recipe;
use crate::render::{Steps, Table, plain};

pub(crate) async fn run(context: &Context, command: ImageCommand) -> Result<ExitCode, Failure> {
    match command {
        ImageCommand::Build { recipe } => {
            let image = build(context, recipe.as_deref()).await?;
            print(context, &image)?;
        }
        ImageCommand::Pull {
            reference,
            username,
            password,
        } => {
            let credentials = username.map(|username| Credentials {
                username,
                password: password.unwrap_or_default(),
            });
            let options = PullOptions { credentials };
            let (store, steps) = (store(context)?, steps(context));
            let image = or_interrupt(store.pull(&reference, options, steps)).await?;
            print(context, &image)?;
        }
        ImageCommand::Import { archive, name } => {
            let name = name.map_or_else(|| name_of(&archive), Ok)?;
            let (store, steps) = (store(context)?, steps(context));
            let image = or_interrupt(store.import(&archive, &name, steps))
                .await
                .map_err(|failure| failure.about(&archive))?;
            print(context, &image)?;
        }
        ImageCommand::Ls => list(context)?,
        ImageCommand::Rm { names, force } => remove(context, &names, force).await?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn store(context: &Context) -> Result<ImageStore, Failure> {
    ImageStore::open(context.data().join("images")).map_err(failure)
}

/// Makes an image; the base image when no recipe is given.
pub(super) async fn build(context: &Context, recipe: Option<&Path>) -> Result<Image, Failure> {
    let store = store(context)?;
    let built_in = match recipe {
        Some(_) => None,
        None => Some(recipe::unpack()?),
    };
    let directory: PathBuf = match (&built_in, recipe) {
        (Some(directory), _) => directory.path().to_owned(),
        (None, Some(recipe)) => recipe.to_owned(),
        (None, None) => unreachable!("without a recipe there is the built-in one"),
    };
    let steps = steps(context);
    or_interrupt(store.build(&directory, registry_settings(), steps)).await
}

/// How this machine reaches the registries of packages.
pub(super) fn registry_settings() -> BuildOptions {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    BuildOptions::from_environment(variables)
}

fn steps(context: &Context) -> Arc<Steps> {
    Arc::new(Steps::new(context.json))
}

/// The work, unless Ctrl-C ends it. Then what was begun is undone before this returns.
async fn or_interrupt(
    work: impl Future<Output = Result<Image, ImageError>>,
) -> Result<Image, Failure> {
    tokio::select! {
        done = work => done.map_err(failure),
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    }
}

fn failure(error: ImageError) -> Failure {
    Failure::new(described(&error))
}

/// What an archive is called unless told otherwise: `images/alpine.tar.gz` is `alpine`.
fn name_of(archive: &Path) -> Result<String, Failure> {
    let name = archive.file_name().and_then(|name| name.to_str());
    let stem = name.map(|name| name.split('.').next().unwrap_or(name));
    match stem {
        Some(stem) if !stem.is_empty() => Ok(stem.to_lowercase()),
        _ => Err(
            Failure::usage(format!("{} gives the image no name", archive.display()))
                .with_hint("give it one with --name"),
        ),
    }
}

fn print(context: &Context, image: &Image) -> Result<(), Failure> {
    if context.printed_as_json(&view(image))? {
        return Ok(());
    }
    let size = indicatif::DecimalBytes(image.size_bytes);
    let (name, digest) = (plain(&image.name), image.digest.short());
    context.out.line(format!("{name}  {digest}  {size}"))
}

fn view(image: &Image) -> ImageView {
    ImageView {
        name: image.name.clone(),
        digest: image.digest.to_string(),
        size_bytes: image.size_bytes,
        created: image.created.clone(),
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let images = store(context)?.list().map_err(failure)?;
    let views = ImageList {
        images: images.iter().map(view).collect(),
    };
    if context.printed_as_json(&views)? {
        return Ok(());
    }
    if images.is_empty() && context.out.is_terminal() {
        context
            .out
            .note("no images; make the base image with `glasshouse image build`");
        return Ok(());
    }
    let mut table = Table::new(&["IMAGE", "DIGEST", "SIZE", "CREATED"]);
    for image in &images {
        let created = image.created.as_deref().unwrap_or("");
        table.row(vec![
            plain(&image.name),
            image.digest.short().to_owned(),
            indicatif::DecimalBytes(image.size_bytes).to_string(),
            plain(created).chars().take(10).collect(),
        ]);
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(())
}

async fn remove(context: &Context, names: &[String], force: bool) -> Result<(), Failure> {
    let store = store(context)?;
    let users = if force {
        Vec::new()
    } else {
        users(context).await?
    };
    for name in names {
        let in_use = |image: &Image| {
            // An image whose name was given to a newer one keeps its users: `base@sha256:…`.
            let base = image.name.split('@').next().unwrap_or(&image.name);
            users
                .iter()
                .filter(|(_, used)| used.strip_suffix(":latest").unwrap_or(used) == base)
                .map(|(id, _)| format!("sandbox {id}"))
                .collect()
        };
        let removed = store.remove(name, &in_use).map_err(failure)?;
        let freed = json!({ "name": name, "layers": removed.layers, "bytes": removed.bytes });
        if !context.printed_as_json(&freed)? {
            let freed = indicatif::DecimalBytes(removed.bytes);
            context.out.line(format!("{name}  {freed} freed"))?;
        }
    }
    Ok(())
}

/// Which sandbox uses which image. Only the server knows, so without one nobody can say that an image is not needed.
async fn users(context: &Context) -> Result<Vec<(String, String)>, Failure> {
    let daemon = Daemon::of(context.data());
    if !daemon.runs()? {
        if !context.data().join("glasshouse.db").exists() {
            return Ok(Vec::new());
        }
        return Err(Failure::new(
            "the server does not run, so nobody knows which images its sandboxes need",
        )
        .with_hint("start it with `glasshouse up`, or add --force"));
    }
    let url = daemon.url().unwrap_or_else(|| context.server());
    let list: SandboxList = context.client_of(&url)?.get("/v1/sandboxes").await?;
    Ok(list
        .sandboxes
        .into_iter()
        .map(|sandbox| (sandbox.id, sandbox.image))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_its_image() {
        assert_eq!(name_of(Path::new("/x/Alpine.tar.gz")).unwrap(), "alpine");
        assert!(name_of(Path::new("/")).is_err());
        assert!(name_of(Path::new(".tar")).is_err());
    }
}
