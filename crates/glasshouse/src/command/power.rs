//! `glasshouse stop`, `glasshouse start` and `glasshouse freeze`

use std::process::ExitCode;

use glass_api::SandboxView;

use crate::cli::Sandboxes;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;

pub(crate) async fn stop(context: &Context, arguments: Sandboxes) -> Result<ExitCode, Failure> {
    change(context, arguments, "stop").await
}

pub(crate) async fn start(context: &Context, arguments: Sandboxes) -> Result<ExitCode, Failure> {
    change(context, arguments, "start").await
}

pub(crate) async fn freeze(context: &Context, arguments: Sandboxes) -> Result<ExitCode, Failure> {
    change(context, arguments, "freeze").await
}

async fn change(context: &Context, arguments: Sandboxes, verb: &str) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    for reference in &arguments.sandboxes {
        let sandbox = resolve(&client, reference).await?;
        let path = format!("/v1/sandboxes/{}/{verb}", sandbox.id);
        let view: SandboxView = client.post(&path, &serde_json::json!({})).await?;
        if !context.printed_as_json(&view)? {
            context.out.line(format!("{}  {}", view.id, view.state))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
