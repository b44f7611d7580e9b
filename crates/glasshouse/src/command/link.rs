//! `glasshouse link <sandbox>`

use std::process::ExitCode;
use std::time::Duration;

use glass_api::{PreviewLink, PreviewLinkParams};

use crate::cli::LinkArguments;
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;

pub(crate) async fn run(context: &Context, arguments: LinkArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let link = make(&client, &sandbox.id, arguments.port, arguments.expires).await?;
    if !context.printed_as_json(&link)? {
        context.out.line(context.out.style.link(&link.url))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A link to a port of a sandbox, or to all of them.
pub(super) async fn make(
    client: &Client,
    sandbox: &str,
    port: Option<u16>,
    expires: Option<Duration>,
) -> Result<PreviewLink, Failure> {
    let params = PreviewLinkParams {
        port,
        expires_in_ms: expires.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
    };
    let path = format!("/v1/sandboxes/{sandbox}/preview-link");
    client.post(&path, &params).await
}
