//! `glasshouse cp`: files and directories into a sandbox and out of it.
//!
//! Symbolic links and special files are left out, and said so: a link that leads elsewhere on the other side helps
//! nobody, and one made by hostile code could lead anywhere.

mod download;
mod place;
mod upload;

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::ProgressBar;

use self::place::Place;
use crate::cli::CpArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::reference::resolve;
use crate::render::byte_bar;

/// What was copied.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Copied {
    files: u64,
    bytes: u64,
    /// Links and special files that were not.
    left_out: Vec<String>,
}

pub(crate) async fn run(context: &Context, arguments: CpArguments) -> Result<ExitCode, Failure> {
    let from = Place::parse(&arguments.source);
    let to = Place::parse(&arguments.target);
    let copied = match (from, to) {
        (Place::Here(source), Place::There { sandbox, path }) => {
            let client = context.client()?;
            let sandbox = resolve(&client, &sandbox).await?;
            upload::run(context, &client, &source, &sandbox.id, &path).await?
        }
        (Place::There { sandbox, path }, Place::Here(target)) => {
            let client = context.client()?;
            let sandbox = resolve(&client, &sandbox).await?;
            download::run(context, &client, &sandbox.id, &path, &target).await?
        }
        (Place::Here(_), Place::Here(_)) => {
            return Err(Failure::usage("neither path is in a sandbox")
                .with_hint("write one as <sandbox>:<path>, such as @last:index.html"));
        }
        (Place::There { .. }, Place::There { .. }) => {
            return Err(Failure::usage("both paths are in sandboxes")
                .with_hint("copy to this machine first, then into the other sandbox"));
        }
    };
    if !context.printed_as_json(&copied)? {
        for path in &copied.left_out {
            context
                .out
                .note(format!("left out: {path} is a link or a special file"));
        }
        let plural = if copied.files == 1 { "file" } else { "files" };
        context.out.note(format!(
            "{} {plural}, {}",
            copied.files,
            indicatif::HumanBytes(copied.bytes)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar over all bytes, for whoever watches.
fn bar(context: &Context, total: u64, name: &str) -> ProgressBar {
    if context.json || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        byte_bar(Some(total), name)
    }
}
