//! A task as it goes on, for `new` and `ask`.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use glass_api::{AppView, EndReason, EventView, PROMPT_LIMIT, TaskParams, TaskView};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::cli::Work;
use crate::client::{Client, Message, Next};
use crate::context::Context;
use crate::failure::{Failure, INTERRUPTED, Naming};
use crate::render::{Spinner, Turn, plain};

/// How long an app may take to answer after the agent is done, and how long it may take to be found at all.
const APP_PATIENCE: Duration = Duration::from_secs(120);
const APP_NOTICE: Duration = Duration::from_secs(5);
const APP_PAUSE: Duration = Duration::from_millis(250);

/// The prompt as typed, or from standard input when it is `-`.
pub(super) async fn prompt(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let mut prompt = Vec::new();
    // One byte more than allowed is enough to know that it is too long.
    let limit = u64::try_from(PROMPT_LIMIT).unwrap_or(u64::MAX) + 1;
    tokio::io::stdin()
        .take(limit)
        .read_to_end(&mut prompt)
        .await
        .naming(|| "cannot read the prompt from standard input".to_owned())?;
    if prompt.len() > PROMPT_LIMIT {
        return Err(
            Failure::new(format!("the prompt is longer than {PROMPT_LIMIT} bytes")).with_hint(
                "put long texts into a file of the sandbox (`glasshouse cp`) and name it in the prompt",
            ),
        );
    }
    String::from_utf8(prompt).map_err(|_| Failure::new("the prompt is not UTF-8 text"))
}

/// Gives the task to the server.
pub(super) async fn assign(
    client: &Client,
    sandbox: &str,
    prompt: String,
    work: Work,
) -> Result<TaskView, Failure> {
    let params = TaskParams {
        prompt,
        agent: work.agent,
        model: work.model,
    };
    client
        .post(&format!("/v1/sandboxes/{sandbox}/tasks"), &params)
        .await
}

/// Shows the task until it ends. The preview URL is the last line.
pub(super) async fn follow(
    context: &Context,
    client: &Client,
    task: &TaskView,
) -> Result<ExitCode, Failure> {
    if !context.json {
        head(context, task)?;
    }
    let (turn, interrupted) = match watch(context, client, task).await? {
        Watched::Ended { turn, interrupted } => (turn, interrupted),
        Watched::Left => {
            context.out.note(format!(
                "task {} goes on in sandbox {}",
                task.id, task.sandbox
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    if context.json {
        let task: TaskView = client.get(&format!("/v1/tasks/{}", task.id)).await?;
        context.out.json(&task)?;
        return Ok(match task.status.as_str() {
            "succeeded" => ExitCode::SUCCESS,
            "cancelled" if interrupted => ExitCode::from(INTERRUPTED),
            _ => ExitCode::FAILURE,
        });
    }
    finish(context, client, task, &turn, interrupted).await
}

fn head(context: &Context, task: &TaskView) -> Result<(), Failure> {
    let style = context.out.style;
    let model = plain(&task.model.name);
    context.out.line(format!(
        "{} {}  {} {} · {model}",
        style.dim("sandbox"),
        style.bold(&task.sandbox),
        style.dim("agent"),
        style.bold(&plain(&task.agent)),
    ))?;
    if task.model.demo {
        context.out.line(style.yellow(&key_hint(context.data())))?;
    }
    context.out.line("")
}

/// What to do to get beyond the demo model.
fn key_hint(data: &Path) -> String {
    format!(
        "The demo model needs no key and writes small apps only. For a real one set ANTHROPIC_API_KEY,\nor put the key into {}, and run `glasshouse down && glasshouse up`.",
        data.join("glasshouse.toml").display()
    )
}

enum Watched {
    Ended {
        turn: Box<Turn>,
        /// Somebody pressed Ctrl-C.
        interrupted: bool,
    },
    Left,
}

async fn watch(context: &Context, client: &Client, task: &TaskView) -> Result<Watched, Failure> {
    let out = &context.out;
    let mut messages = client.resumable(&format!("/v1/tasks/{}/events", task.id), &[]);
    let mut turn = Turn::new(out.style, out.width());
    let lively = !context.json && out.is_terminal() && std::io::stderr().is_terminal();
    let spinner = Spinner::new(lively);
    let mut interrupts = 0;
    while turn.ending().is_none() {
        spinner.say(&turn.activity());
        tokio::select! {
            next = messages.next() => match next? {
                Next::Message(message) => {
                    let lines = if context.json {
                        json_line(&mut turn, message)
                    } else {
                        event(&message).map(|view| turn.on(&view.event)).unwrap_or_default()
                    };
                    if !lines.is_empty() {
                        spinner.aside(|| out.line(lines.join("\n")))?;
                    }
                }
                Next::Away => {
                    spinner.say("waiting for the server to come back…");
                    if !lively {
                        out.note("the server does not answer; waiting for it to come back");
                    }
                }
                Next::End => return Err(Failure::new("the stream of events ended early")),
            },
            interrupt = tokio::signal::ctrl_c() => {
                interrupt.naming(|| "cannot wait for Ctrl-C".to_owned())?;
                interrupts += 1;
                if interrupts > 1 {
                    return Ok(Watched::Left);
                }
                spinner.aside(|| out.note("asking the agent to stop; Ctrl-C again leaves it at work"));
                let _: TaskView = client
                    .post(&format!("/v1/tasks/{}/cancel", task.id), &serde_json::json!({}))
                    .await?;
            }
        }
    }
    Ok(Watched::Ended {
        turn: Box::new(turn),
        interrupted: interrupts > 0,
    })
}

/// The event of a message. A newer server may have kinds that we do not know: they are not ours to show.
fn event(message: &Message) -> Option<EventView> {
    serde_json::from_str(&message.data).ok()
}

fn json_line(turn: &mut Turn, message: Message) -> Vec<String> {
    if let Some(view) = event(&message) {
        turn.on(&view.event);
    }
    vec![message.data]
}

async fn finish(
    context: &Context,
    client: &Client,
    task: &TaskView,
    turn: &Turn,
    interrupted: bool,
) -> Result<ExitCode, Failure> {
    let ending = turn.ending().expect("a watched turn has ended");
    let said = |otherwise: &str| {
        let message = ending.message.as_deref().unwrap_or(otherwise);
        message.to_owned()
    };
    let failure = match ending.reason {
        EndReason::Completed => None,
        EndReason::Cancelled => {
            let failure = Failure::new("the task was cancelled");
            Some(if interrupted {
                failure.with_code(INTERRUPTED)
            } else {
                failure
            })
        }
        EndReason::Limit => Some(Failure::new(said("the agent came to a limit of its model"))),
        EndReason::Refused => Some(Failure::new(said("the model refused"))),
        EndReason::Failed => Some(Failure::new(said("the task failed"))),
    };
    if let Some(failure) = failure {
        if let Some(url) = turn.preview() {
            context.out.line(context.out.style.link(url))?;
        }
        return Err(failure.with_hint(format!(
            "the sandbox is still there: try again with `glasshouse ask {} \"…\"`",
            task.sandbox
        )));
    }
    let url = match turn.preview() {
        Some(url) => url.to_owned(),
        None => answering(context, client, task).await?,
    };
    context.out.line("")?;
    context.out.line(context.out.style.link(&url))?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for an app that is on its way, and says so when there is none or it does not run.
async fn answering(context: &Context, client: &Client, task: &TaskView) -> Result<String, Failure> {
    let spinner = Spinner::new(context.out.is_terminal());
    let since = Instant::now();
    let path = format!("/v1/sandboxes/{}/app", task.sandbox);
    loop {
        let app: AppView = client.get(&path).await?;
        let patience = match app.state.as_str() {
            "running" => return Ok(app.url.unwrap_or_else(|| task.url.clone())),
            "failed" => {
                let why = app
                    .message
                    .as_deref()
                    .map_or_else(String::new, |why| format!(": {}", plain(why)));
                spinner.aside(|| {
                    context.out.note(format!(
                        "the app does not run{why}; see `glasshouse logs {}`",
                        task.sandbox
                    ));
                });
                return Ok(task.url.clone());
            }
            "installing" | "building" | "starting" => APP_PATIENCE,
            _ => APP_NOTICE,
        };
        if since.elapsed() > patience {
            spinner.aside(|| context.out.note("no app answers in this sandbox yet"));
            return Ok(task.url.clone());
        }
        spinner.say(&format!("the app is {}…", plain(&app.state)));
        tokio::time::sleep(APP_PAUSE).await;
    }
}
