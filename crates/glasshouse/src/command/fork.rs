//! `glasshouse fork <sandbox>`

use std::process::ExitCode;

use glass_api::{ForkParams, SandboxView};

use crate::cli::ForkArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;

pub(crate) async fn run(context: &Context, arguments: ForkArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let path = format!("/v1/sandboxes/{}/fork", sandbox.id);
    let view: SandboxView = client.post(&path, &ForkParams::default()).await?;
    if !context.printed_as_json(&view)? {
        let url = context.out.style.link(&view.url);
        context.out.line(format!("{}  {url}", view.id))?;
    }
    Ok(ExitCode::SUCCESS)
}
