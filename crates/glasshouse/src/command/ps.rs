//! `glasshouse ps`

use std::process::ExitCode;

use glass_api::{SandboxList, SandboxView};

use crate::cli::PsArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::render::{Table, age, plain};

pub(crate) async fn run(context: &Context, arguments: PsArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let labels: Vec<String> = arguments
        .label
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let query: Vec<(&str, &str)> = labels
        .iter()
        .map(|label| ("label", label.as_str()))
        .collect();
    let list: SandboxList = client.get_with("/v1/sandboxes", &query).await?;
    if context.printed_as_json(&list)? {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.quiet {
        for sandbox in &list.sandboxes {
            context.out.line(&sandbox.id)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if list.sandboxes.is_empty() && context.out.is_terminal() {
        context
            .out
            .note("no sandboxes; make one with `glasshouse new \"create a todo app\"`");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["SANDBOX", "STATE", "IMAGE", "AGE", "URL", "LABELS"]);
    for sandbox in &list.sandboxes {
        table.row(row(sandbox));
    }
    for line in table.lines(context.out.style) {
        context.out.line(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(sandbox: &SandboxView) -> Vec<String> {
    let labels: Vec<String> = sandbox
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let state = match &sandbox.reason {
        Some(reason) => format!("{} ({reason})", sandbox.state),
        None => sandbox.state.clone(),
    };
    vec![
        sandbox.id.clone(),
        plain(&state).replace('\n', " "),
        plain(&sandbox.image),
        age(sandbox.created_at),
        sandbox.url.clone(),
        plain(&labels.join(",")),
    ]
}
