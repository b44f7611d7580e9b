//! `glasshouse up`: everything from a bare machine to a server that answers. Run again it changes nothing.

use std::fs::{self, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use glass_api::AgentList;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::{doctor, image, serve};
use crate::cli::{ServeArguments, UpArguments};
use crate::client::Client;
use crate::context::Context;
use crate::daemon::Daemon;
use crate::failure::{Failure, Naming};
use crate::recipe::BASE;
use crate::render::Spinner;

/// How long a server may take until it is ready, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// Lines of the log that are shown when it does not start, and the size at which a log begins anew.
const TAIL: usize = 15;
const LOG_LIMIT: u64 = 64 << 20;

pub(crate) async fn run(context: &Context, arguments: UpArguments) -> Result<ExitCode, Failure> {
    let daemon = Daemon::of(context.data());
    if daemon.runs()? {
        if arguments.foreground {
            return Err(Failure::new("the server runs already")
                .with_hint("stop it first with `glasshouse down`"));
        }
        let url = daemon.url().unwrap_or_else(|| context.server());
        ready(context, &url).await?;
        return told(context, &url, "runs already", None).await;
    }
    make_data(context)?;
    let checks = doctor::checks(context, &arguments.serve).await;
    doctor::require(context, &checks)?;
    base(context).await?;
    if arguments.foreground {
        return serve::run(context, arguments.serve).await;
    }
    let url = spawn(context, &daemon, &arguments.serve).await?;
    ready(context, &url).await?;
    let domain = Some(arguments.serve.preview_domain.as_str());
    told(context, &url, "runs", domain).await
}

fn make_data(context: &Context) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(context.data())
        .map_err(|error| {
            Failure::new(format!(
                "cannot make the data directory {}: {error}",
                context.data().display()
            ))
            .with_hint("give another with --data or GLASSHOUSE_DATA")
        })
}

/// The image that sandboxes start from. One that was made from an older recipe is as good.
async fn base(context: &Context) -> Result<(), Failure> {
    if image::store(context)?.get(BASE).is_ok() {
        return Ok(());
    }
    context
        .out
        .note("making the base image; this happens once and takes a few minutes");
    image::build(context, None).await.map(drop)
}

/// Starts the server as a process of its own and waits for the line with which it says where it listens.
async fn spawn(
    context: &Context,
    daemon: &Daemon,
    arguments: &ServeArguments,
) -> Result<String, Failure> {
    let path = daemon.log();
    if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
        let old = path.with_extension("log.1");
        fs::rename(&path, &old).naming(|| format!("cannot rename {}", path.display()))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .naming(|| format!("cannot write {}", path.display()))?;
    let start = log.metadata().map_or(0, |log| log.len());
    let program = std::env::current_exe().naming(|| "cannot find this program".to_owned())?;
    let data = std::path::absolute(context.data())
        .naming(|| format!("cannot use {}", context.data().display()))?;
    let mut command = Command::new(program);
    command
        .arg("--data")
        .arg(data)
        .args(["serve", "--detached"])
        .args(["--runtime", arguments.runtime.as_str()])
        .args(["--preview-domain", &arguments.preview_domain])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    for address in &arguments.listen {
        command.arg("--listen").arg(address.to_string());
    }
    if let Some(agents) = &arguments.agents {
        let agents =
            std::path::absolute(agents).naming(|| format!("cannot use {}", agents.display()))?;
        command.arg("--agents").arg(agents);
    }
    // The data directory is in the command already; nothing else of the working directory is needed.
    command.current_dir("/");
    let mut child = command
        .spawn()
        .naming(|| "the server cannot be started".to_owned())?;
    match address(&mut child).await {
        Some(url) => Ok(url),
        None => Err(not_started(&path, start)),
    }
}

async fn address(child: &mut Child) -> Option<String> {
    let stdout = child.stdout.take()?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .ok()?
        .ok()??;
    let value: serde_json::Value = serde_json::from_str(&line).ok()?;
    Some(value.get("url")?.as_str()?.to_owned())
}

fn not_started(log: &std::path::Path, start: u64) -> Failure {
    let text = fs::read(log).unwrap_or_default();
    let start = usize::try_from(start).unwrap_or(0).min(text.len());
    let text = String::from_utf8_lossy(&text[start..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    // The server's last words name what is wrong and what to do.
    let word = |mark: &str| {
        let found = lines
            .iter()
            .rev()
            .find_map(|line| line.trim().strip_prefix(mark));
        found.map(|text| text.trim().to_owned())
    };
    match (word("error:"), word("hint:")) {
        (Some(reason), None) => Failure::new(format!("the server did not start: {reason}")),
        (Some(reason), Some(hint)) => {
            Failure::new(format!("the server did not start: {reason}")).with_hint(hint)
        }
        (None, _) => Failure::new("the server did not start")
            .with_hint(format!("the end of {}:\n{tail}", log.display())),
    }
}

/// Waits until the server has looked after its sandboxes and takes requests.
async fn ready(context: &Context, url: &str) -> Result<(), Failure> {
    let client = Client::new(url, None)?;
    let spinner = Spinner::new(!context.json && std::io::stderr().is_terminal());
    spinner.say("waiting for the server…");
    let since = Instant::now();
    loop {
        let request = client.request(reqwest::Method::GET, "/readyz", &[]);
        match client.send(request).await {
            Ok(_) => return Ok(()),
            Err(_) if since.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(client.failure(error)),
        }
    }
}

async fn told(
    context: &Context,
    url: &str,
    how: &str,
    domain: Option<&str>,
) -> Result<ExitCode, Failure> {
    let client = context.client_of(url)?;
    let agents: AgentList = client.get("/v1/agents").await?;
    if context.printed_as_json(&serde_json::json!({ "url": url }))? {
        return Ok(ExitCode::SUCCESS);
    }
    let (out, style) = (&context.out, context.out.style);
    let daemon = Daemon::of(context.data());
    let process = daemon.pid().map_or_else(String::new, |pid| {
        format!(" (process {})", pid.as_raw_nonzero())
    });
    out.line(format!("{} Glasshouse {how}{process}", style.green("✓")))?;
    out.line("")?;
    out.line(format!("  API       {}", style.link(url)))?;
    if let (Some(domain), Some((_, port))) = (domain, url.rsplit_once(':')) {
        out.line(format!(
            "  previews  http://<port>-<sandbox>.{domain}:{port}"
        ))?;
    }
    out.line(format!("  log       {}", daemon.log().display()))?;
    if let Some(agent) = agents.agents.iter().find(|agent| agent.default) {
        out.line(format!(
            "  agent     {} with {}",
            agent.name, agent.model.name
        ))?;
        if agent.model.demo {
            out.line("            which needs no key and writes small apps only; for a real one")?;
            out.line("            see what `glasshouse doctor` says about keys")?;
        }
    }
    out.line("")?;
    out.line(format!(
        "Try:  {}",
        style.bold("glasshouse new \"create a todo app\"")
    ))?;
    Ok(ExitCode::SUCCESS)
}
