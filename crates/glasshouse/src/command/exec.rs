//! `glasshouse exec <sandbox> <command…>`

use std::io::{self, Write};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use glass_api::{BODY_LIMIT, Code, ExecChunk, ExecCommand, ExecParams, Problem};
use reqwest::Method;
use rustix::fs::{FileType, fstat};
use tokio::io::AsyncReadExt;

use crate::cli::ExecArguments;
use crate::client::Next;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

/// What a shell says of a program that is not there or cannot be run.
const NOT_STARTED: u8 = 127;

pub(crate) async fn run(context: &Context, arguments: ExecArguments) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let stdin = if arguments.no_stdin {
        None
    } else {
        stdin().await?
    };
    let params = ExecParams {
        command: command(arguments.command),
        cwd: arguments.cwd,
        env: arguments.env.into_iter().collect(),
        stdin,
        user: arguments.user,
        timeout_ms: Some(arguments.timeout * 1000),
    };
    let path = format!("/v1/sandboxes/{}/exec", sandbox.id);
    let request = client.request(Method::POST, &path, &[]).json(&params);
    let mut messages = client.stream(request).await.map_err(|failure| {
        let not_started = |problem: &Problem| problem.code == Code::CommandNotStarted;
        if failure.problem().is_some_and(not_started) {
            failure.with_code(NOT_STARTED)
        } else {
            failure
        }
    })?;
    while let Next::Message(message) = messages.next().await? {
        let Ok(chunk) = serde_json::from_str::<ExecChunk>(&message.data) else {
            continue;
        };
        if context.json {
            context.out.line(&message.data)?;
        }
        match chunk {
            ExecChunk::Start { .. } => {}
            ExecChunk::Stdout { data } if !context.json => context.out.bytes(&bytes(&data)?)?,
            ExecChunk::Stderr { data } if !context.json => {
                io::stderr().lock().write_all(&bytes(&data)?)?;
            }
            ExecChunk::Stdout { .. } | ExecChunk::Stderr { .. } => {}
            ExecChunk::Exit {
                exit_code,
                timed_out,
            } => {
                if timed_out {
                    let limit = arguments.timeout;
                    context
                        .out
                        .note(format!("killed after {limit} s; allow more with --timeout"));
                }
                return Ok(ExitCode::from(u8::try_from(exit_code).unwrap_or(1)));
            }
        }
    }
    Err(Failure::new(
        "the connection ended before the command did; it may still run in the sandbox",
    ))
}

/// One word that is more than the name of a program is meant for a shell.
fn command(mut words: Vec<String>) -> ExecCommand {
    let for_shell = |word: &String| {
        word.chars()
            .any(|c| !c.is_alphanumeric() && !"_-./:+@%=,".contains(c))
    };
    if words.len() == 1 && words.first().is_some_and(for_shell) {
        ExecCommand::Shell(words.remove(0))
    } else {
        ExecCommand::Argv(words)
    }
}

/// What is piped or redirected into us. A terminal, or nothing at all (`/dev/null`), is not waited for.
async fn stdin() -> Result<Option<String>, Failure> {
    let kind = fstat(io::stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(
        kind,
        Ok(FileType::Fifo | FileType::RegularFile | FileType::Socket)
    ) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let limit = BODY_LIMIT / 2;
    tokio::io::stdin()
        .take(limit as u64 + 1)
        .read_to_end(&mut text)
        .await
        .naming(|| "cannot read standard input".to_owned())?;
    if text.len() > limit {
        return Err(
            Failure::new(format!("standard input is longer than {limit} bytes"))
                .with_hint("copy it into the sandbox with `glasshouse cp` and read it there"),
        );
    }
    String::from_utf8(text).map(Some).map_err(|_| {
        Failure::new("standard input is not UTF-8 text")
            .with_hint("copy it into the sandbox with `glasshouse cp` and read it there")
    })
}

fn bytes(data: &str) -> Result<Vec<u8>, Failure> {
    STANDARD
        .decode(data)
        .naming(|| "the server sent output that is not base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> ExecCommand {
        command(words.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn a_single_line_goes_to_the_shell() {
        for line in ["echo $HOME", "ls|wc", "a;b", "cat<x"] {
            assert_eq!(words(&[line]), ExecCommand::Shell(line.to_owned()));
        }
    }

    #[test]
    fn a_program_and_its_arguments_stay_as_they_are() {
        assert_eq!(words(&["ls"]), ExecCommand::Argv(vec!["ls".to_owned()]));
        let argv = vec!["echo".to_owned(), "a  b".to_owned()];
        assert_eq!(words(&["echo", "a  b"]), ExecCommand::Argv(argv));
    }
}
