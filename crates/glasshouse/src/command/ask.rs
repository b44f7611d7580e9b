//! `glasshouse ask <sandbox> "<prompt>"`

use std::process::ExitCode;

use super::work;
use crate::cli::AskArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;

pub(crate) async fn run(context: &Context, arguments: AskArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let prompt = work::prompt(arguments.prompt).await?;
    let task = work::assign(&client, &sandbox.id, prompt, arguments.work).await?;
    context.printed_as_json(&task)?;
    work::follow(context, &client, &task).await
}
