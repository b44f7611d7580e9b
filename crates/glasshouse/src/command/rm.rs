//! `glasshouse rm <sandbox…>`

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use glass_api::{Code, SandboxList};
use reqwest::Method;

use crate::cli::RmArguments;
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

pub(crate) async fn run(context: &Context, arguments: RmArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let ids = chosen(&client, &arguments).await?;
    if ids.is_empty() {
        context.out.note("nothing to remove");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.force && !confirmed(context, &ids, arguments.all)? {
        context.out.note("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    for id in &ids {
        let removed = client
            .done(Method::DELETE, &format!("/v1/sandboxes/{id}"))
            .await;
        match removed {
            Err(failure) if arguments.force && is_gone(&failure) => {}
            other => other?,
        }
        if !context.printed_as_json(&serde_json::json!({ "id": id, "removed": true }))? {
            context.out.line(id)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn chosen(client: &Client, arguments: &RmArguments) -> Result<Vec<String>, Failure> {
    if arguments.all {
        let list: SandboxList = client.get("/v1/sandboxes").await?;
        return Ok(list.sandboxes.into_iter().map(|view| view.id).collect());
    }
    let mut ids: Vec<String> = Vec::new();
    for reference in &arguments.sandboxes {
        match resolve(client, reference).await {
            Ok(sandbox) if ids.contains(&sandbox.id) => {}
            Ok(sandbox) => ids.push(sandbox.id),
            Err(failure) if arguments.force && failure.is_missing() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(ids)
}

fn is_gone(failure: &Failure) -> bool {
    failure
        .problem()
        .is_some_and(|problem| problem.code == Code::SandboxNotFound)
}

/// Asks whoever sits there. A script is taken at its word, but not for all at once.
fn confirmed(context: &Context, ids: &[String], all: bool) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        if all {
            return Err(
                Failure::usage("removing all sandboxes needs a confirmation")
                    .with_hint("add --force"),
            );
        }
        return Ok(true);
    }
    let what = match ids {
        [id] => format!("sandbox {id} and its files"),
        _ => format!("{} sandboxes and their files", ids.len()),
    };
    context.out.note(format!("Remove {what}? [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .naming(|| "cannot read the answer".to_owned())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
