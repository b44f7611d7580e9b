//! `glasshouse new "<prompt>"`

use std::process::ExitCode;

use glass_api::{Code, CreateParams, SandboxView};
use reqwest::Method;

use super::{template, work};
use crate::cli::NewArguments;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(context: &Context, arguments: NewArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let prompt = match arguments.prompt {
        Some(prompt) => Some(work::prompt(prompt).await?),
        None => None,
    };
    let params = CreateParams {
        image: arguments.image,
        template: arguments.template,
        snapshot: arguments.snapshot,
        env: arguments.env.into_iter().collect(),
        labels: arguments.label.into_iter().collect(),
        root: arguments.root,
        isolation: arguments.isolation,
        ..CreateParams::default()
    };
    let sandbox = create(context, &client, &params).await?;
    let Some(prompt) = prompt else {
        if !context.printed_as_json(&sandbox)? {
            let url = context.out.style.link(&sandbox.url);
            context.out.line(format!("{}  {url}", sandbox.id))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let path = format!("/v1/sandboxes/{}", sandbox.id);
    let task = match work::assign(&client, &sandbox.id, prompt, arguments.work).await {
        Ok(task) => task,
        Err(failure) => {
            // A refused task (an unknown agent, say) leaves no empty sandbox behind. What the removal says matters
            // less than why the task was refused.
            let _ = client.done(Method::DELETE, &path).await;
            return Err(failure);
        }
    };
    if context.json {
        context.out.json(&sandbox)?;
        context.out.json(&task)?;
    }
    work::follow(context, &client, &task).await
}

/// A template that comes with this program and was never made here is made on the way.
async fn create(
    context: &Context,
    client: &Client,
    params: &CreateParams,
) -> Result<SandboxView, Failure> {
    let created = client.post("/v1/sandboxes", params).await;
    let is_unmade = |failure: &Failure| {
        failure
            .problem()
            .is_some_and(|problem| problem.code == Code::TemplateNotFound)
    };
    match (created, &params.template) {
        (Err(failure), Some(name)) if is_unmade(&failure) && template::is_ours(name) => {
            context
                .out
                .note(format!("making the template {name}, once"));
            template::make(context, client, name).await?;
            client.post("/v1/sandboxes", params).await
        }
        (created, _) => created,
    }
}
