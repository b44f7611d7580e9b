//! `glasshouse open <sandbox>`

use std::process::{Command, ExitCode, Stdio};

use glass_api::{AppView, PortList};

use crate::cli::OpenArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;

pub(crate) async fn run(context: &Context, arguments: OpenArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let path = format!("/v1/sandboxes/{}", sandbox.id);
    let url = match arguments.port {
        Some(port) => {
            let list: PortList = client.get(&format!("{path}/ports")).await?;
            url_of(&list, port, &sandbox.id)?
        }
        None if sandbox.state == "running" => {
            let app: AppView = client.get(&format!("{path}/app")).await?;
            app.url.unwrap_or(sandbox.url)
        }
        None => sandbox.url,
    };
    let url = if sandbox.visibility == "private" {
        // A pass for all ports: what the app loads from another one is part of it.
        let link = super::link::make(&client, &sandbox.id, None, None).await?;
        format!(
            "{url}/?{}",
            link.url.split_once('?').map_or("", |(_, query)| query)
        )
    } else {
        url
    };
    if context.printed_as_json(&serde_json::json!({ "url": url }))? {
        return Ok(ExitCode::SUCCESS);
    }
    context.out.line(context.out.style.link(&url))?;
    if !arguments.print && context.out.is_terminal() {
        browse(context, &url);
    }
    Ok(ExitCode::SUCCESS)
}

fn url_of(list: &PortList, port: u16, sandbox: &str) -> Result<String, Failure> {
    if let Some(view) = list.ports.iter().find(|view| view.port == port) {
        return Ok(view.url.clone());
    }
    let open: Vec<String> = list
        .ports
        .iter()
        .filter(|view| view.open)
        .map(|view| view.port.to_string())
        .collect();
    let hint = if open.is_empty() {
        "no port is open there; see `glasshouse logs`".to_owned()
    } else {
        format!("open ports: {}", open.join(", "))
    };
    Err(Failure::new(format!(
        "nothing listens on port {port} in sandbox {sandbox}"
    ))
    .with_hint(hint))
}

/// Opens a browser where there is a desktop. The URL is printed already, so it is no failure when there is none.
fn browse(context: &Context, url: &str) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else if desktop {
        "xdg-open"
    } else {
        return;
    };
    let opened = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        context
            .out
            .note(format!("{opener} cannot be started: {error}"));
    }
}
