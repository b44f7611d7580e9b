//! `glasshouse template ls`

use glass_api::{ImageList, TemplateList, TemplateView};

use super::files::ours;
use super::recipe::Recipe;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::{Table, age, plain};

pub(super) async fn run(context: &Context, client: &Client) -> Result<(), Failure> {
    let list: TemplateList = client.get("/v1/templates").await?;
    if context.printed_as_json(&list)? {
        return Ok(());
    }
    let images: ImageList = client.get("/v1/images").await?;
    let mut table = Table::new(&["TEMPLATE", "STATE", "MADE", "IMAGE", "DESCRIPTION"]);
    for view in &list.templates {
        table.row(vec![
            view.name.clone(),
            state(view, &images)?.to_owned(),
            age(view.created_at),
            plain(&view.image),
            plain(&view.description).replace('\n', " "),
        ]);
    }
    for name in ours() {
        if !list.templates.iter().any(|view| view.name == name) {
            let recipe = Recipe::ours(name)?.file;
            table.row(vec![
                name.to_owned(),
                "at first use".to_owned(),
                "-".to_owned(),
                recipe.image,
                recipe.description,
            ]);
        }
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(())
}

/// Of one that comes with this program it is known whether it would be made in another way now.
fn state(view: &TemplateView, images: &ImageList) -> Result<&'static str, Failure> {
    let Some(digest) = view
        .digest
        .as_ref()
        .filter(|_| ours().contains(&&*view.name))
    else {
        return Ok("ready");
    };
    let recipe = Recipe::ours(&view.name)?;
    let named = |name: &str| images.images.iter().find(|image| image.name == name);
    let image = named(&recipe.file.image).map(|image| image.digest.as_str());
    if *digest == recipe.digest_on(image) {
        Ok("ready")
    } else {
        Ok("outdated")
    }
}
