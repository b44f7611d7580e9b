//! `glasshouse snapshot`

use std::process::ExitCode;

use glass_api::{RestoreParams, SandboxView, SnapshotList, SnapshotParams, SnapshotView};
use indicatif::HumanBytes;
use reqwest::Method;
use serde_json::json;

use crate::cli::{SnapshotCommand, TakeArguments};
use crate::client::Client;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;
use crate::render::{Table, age, plain};

pub(crate) async fn run(context: &Context, command: SnapshotCommand) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    match command {
        SnapshotCommand::Take(arguments) => take(context, &client, arguments).await?,
        SnapshotCommand::Ls { sandbox } => list(context, &client, sandbox.as_deref()).await?,
        SnapshotCommand::Restore { sandbox, snapshot } => {
            let sandbox = resolve(&client, &sandbox).await?;
            let params = RestoreParams {
                snapshot: find(&client, &snapshot).await?.id,
            };
            let path = format!("/v1/sandboxes/{}/restore", sandbox.id);
            let view: SandboxView = client.post(&path, &params).await?;
            if !context.printed_as_json(&view)? {
                context.out.line(format!("{}  {}", view.id, view.state))?;
            }
        }
        SnapshotCommand::Rm { snapshots } => {
            for reference in &snapshots {
                let id = find(&client, reference).await?.id;
                client
                    .done(Method::DELETE, &format!("/v1/snapshots/{id}"))
                    .await?;
                if !context.printed_as_json(&json!({ "id": id, "removed": true }))? {
                    context.out.line(&id)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn take(context: &Context, client: &Client, arguments: TakeArguments) -> Result<(), Failure> {
    let sandbox = resolve(client, &arguments.sandbox).await?;
    let params = SnapshotParams {
        name: arguments.name,
        description: arguments.description,
        expires_in_ms: arguments
            .expires
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
    };
    let path = format!("/v1/sandboxes/{}/snapshots", sandbox.id);
    let view: SnapshotView = client.post(&path, &params).await?;
    if !context.printed_as_json(&view)? {
        let size = HumanBytes(view.bytes);
        context.out.line(format!("{}  {size}", view.id))?;
    }
    Ok(())
}

async fn list(context: &Context, client: &Client, sandbox: Option<&str>) -> Result<(), Failure> {
    let list: SnapshotList = match sandbox {
        Some(sandbox) => {
            let id = resolve(client, sandbox).await?.id;
            client
                .get_with("/v1/snapshots", &[("sandbox", &id)])
                .await?
        }
        None => client.get("/v1/snapshots").await?,
    };
    if context.printed_as_json(&list)? {
        return Ok(());
    }
    if list.snapshots.is_empty() && context.out.is_terminal() {
        context
            .out
            .note("no snapshots; take one with `glasshouse snapshot take @last`");
        return Ok(());
    }
    let mut table = Table::new(&["SNAPSHOT", "SANDBOX", "SIZE", "AGE", "NAME"]);
    for view in &list.snapshots {
        table.row(vec![
            view.id.clone(),
            view.sandbox.clone().unwrap_or_default(),
            HumanBytes(view.bytes).to_string(),
            age(view.created_at),
            plain(view.name.as_deref().unwrap_or_default()).replace('\n', " "),
        ]);
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(())
}

/// The one snapshot whose id begins like this.
async fn find(client: &Client, reference: &str) -> Result<SnapshotView, Failure> {
    let list: SnapshotList = client.get("/v1/snapshots").await?;
    let mut found: Vec<SnapshotView> = list
        .snapshots
        .into_iter()
        .filter(|view| !reference.is_empty() && view.id.starts_with(reference))
        .collect();
    let shown: String = reference.chars().take(64).collect();
    match (found.pop(), found.len()) {
        (Some(view), 0) => Ok(view),
        (Some(_), more) => Err(Failure::new(format!(
            "{shown:?} is the beginning of {} snapshots",
            more + 1
        ))
        .with_hint("write more of the id")),
        (None, _) => Err(Failure::missing(format!("there is no snapshot {shown:?}"))
            .with_hint("see which there are with `glasshouse snapshot ls`")),
    }
}
