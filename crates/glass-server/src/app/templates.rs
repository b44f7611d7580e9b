//! Templates: names for what new sandboxes can begin with.

use std::sync::Arc;

use glass_api::{Code, Problem, TemplateDefaults, TemplateParams, TemplateView};
use glass_store::{Store, TemplateRow};

use super::{Sandboxes, validate};
use crate::clock;
use crate::error::{ApiError, internal};

/// The longest manifest, in bytes.
const MANIFEST_LIMIT: usize = 64 << 10;

/// Writes a template, in the place of one with the same name, whose snapshot stays.
pub(crate) async fn put(
    sandboxes: &Arc<Sandboxes>,
    store: &Store,
    name: String,
    params: TemplateParams,
) -> Result<TemplateRow, ApiError> {
    check_name(&name)?;
    validate::words(None, Some(&params.description))?;
    validate::sandbox(&glass_api::CreateParams {
        env: params.defaults.env.clone(),
        limits: params.defaults.limits.clone(),
        root: params.defaults.root.clone(),
        isolation: params.defaults.isolation.clone(),
        egress: params.defaults.egress.clone(),
        ..glass_api::CreateParams::default()
    })?;
    let manifest = params.manifest.as_deref().unwrap_or_default();
    if manifest.len() > MANIFEST_LIMIT {
        let value = format!("{} bytes", manifest.len());
        let message = format!("at most {MANIFEST_LIMIT} bytes");
        return Err(Problem::field("manifest", value, message).into());
    }
    let (snapshot, image) = match (&params.snapshot, params.image) {
        (Some(snapshot), Some(image)) => {
            let message = format!("give either snapshot ({snapshot}) or image");
            return Err(Problem::field("image", image, message).into());
        }
        (Some(id), None) => {
            let kept = sandboxes.ready_snapshot("snapshot", id).await?;
            (Some(kept.id), kept.image)
        }
        (None, Some(image)) => (None, sandboxes.image(&image).await?.name),
        (None, None) => {
            let message = "give a snapshot or an image to begin with";
            return Err(Problem::field("snapshot", "", message).into());
        }
    };
    let defaults = serde_json::to_string(&params.defaults).map_err(|e| ApiError(internal(&e)))?;
    let row = TemplateRow {
        name,
        description: params.description,
        snapshot,
        image,
        manifest: params.manifest,
        defaults,
        digest: params.digest,
        created_at: clock::now(),
    };
    store.put_template(&row).await?;
    Ok(row)
}

/// The template of this name.
pub(crate) async fn existing(store: &Store, name: &str) -> Result<TemplateRow, ApiError> {
    store.template(name).await?.ok_or_else(|| {
        let problem = Problem::new(
            Code::TemplateNotFound,
            format!("template {name:?} was not found"),
        );
        let remedy = format!(
            "`glasshouse template ls` lists the templates that there are; \
             one that comes with glasshouse is made by `glasshouse template build {name}`"
        );
        problem.with_remedy(remedy).into()
    })
}

/// Removes a template. Its snapshot stays.
pub(crate) async fn remove(store: &Store, name: &str) -> Result<(), ApiError> {
    let row = existing(store, name).await?;
    store.delete_template(&row.name).await?;
    Ok(())
}

/// What the sandboxes of a template have unless their owner wants otherwise.
pub(crate) fn defaults(row: &TemplateRow) -> Result<TemplateDefaults, ApiError> {
    serde_json::from_str(&row.defaults).map_err(|error| ApiError(internal(&error)))
}

/// A template as the API shows it.
pub(crate) fn view(row: TemplateRow) -> Result<TemplateView, ApiError> {
    Ok(TemplateView {
        defaults: defaults(&row)?,
        name: row.name,
        description: row.description,
        snapshot: row.snapshot.map(|id| id.to_string()),
        image: row.image,
        manifest: row.manifest,
        digest: row.digest,
        created_at: row.created_at,
    })
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_name = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.as_bytes()[0].is_ascii_lowercase();
    if is_name {
        return Ok(());
    }
    let message = "a name is 1 to 63 of a-z, 0-9 and -, and begins with a letter";
    Err(Problem::field("name", name, message))
}
