//! `glasshouse new "<prompt>"`

use std::process::ExitCode;

use glass_api::{CreateParams, SandboxView};
use reqwest::Method;

use super::work;
use crate::cli::NewArguments;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) async fn run(context: &Context, arguments: NewArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let prompt = work::prompt(arguments.prompt).await?;
    let params = CreateParams {
        image: arguments.image,
        env: arguments.env.into_iter().collect(),
        labels: arguments.label.into_iter().collect(),
        ..CreateParams::default()
    };
    let sandbox: SandboxView = client.post("/v1/sandboxes", &params).await?;
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
