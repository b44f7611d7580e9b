//! `glasshouse logs <sandbox>`

use std::process::ExitCode;

use glass_api::LogLine;
use reqwest::Method;

use crate::cli::LogsArguments;
use crate::client::Next;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;
use crate::render::{plain, printable};

pub(crate) async fn run(context: &Context, arguments: LogsArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let path = format!("/v1/sandboxes/{}/logs", sandbox.id);
    let mut query = Vec::new();
    if arguments.follow {
        query.push(("follow", "true"));
    }
    if let Some(process) = &arguments.process {
        query.push(("process", process.as_str()));
    }
    let mut messages = if arguments.follow {
        client.resumable(&path, &query)
    } else {
        client
            .stream(client.request(Method::GET, &path, &query))
            .await?
    };
    loop {
        match messages.next().await? {
            Next::Message(message) if context.json => context.out.line(&message.data)?,
            Next::Message(message) => {
                if let Ok(line) = serde_json::from_str::<LogLine>(&message.data) {
                    show(context, &line, arguments.process.is_none())?;
                }
            }
            Next::Away => context
                .out
                .note("the server does not answer; waiting for it to come back"),
            Next::End => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn show(context: &Context, line: &LogLine, named: bool) -> Result<(), Failure> {
    let style = context.out.style;
    let text = printable(&line.text, style.is_on());
    if named {
        let process = style.dim(&format!("{:>7} │", plain(&line.process)));
        context.out.line(format!("{process} {text}"))
    } else {
        context.out.line(text)
    }
}
