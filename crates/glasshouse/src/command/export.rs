//! `glasshouse export`: the files of a sandbox as one archive.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::HumanBytes;
use reqwest::Method;
use serde::Serialize;

use super::archive::{STREAM, bar, format};
use crate::cli::ExportArguments;
use crate::client::CallError;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    bytes: u64,
}

pub(crate) async fn run(
    context: &Context,
    arguments: ExportArguments,
) -> Result<ExitCode, Failure> {
    if let Some(output) = &arguments.output {
        format(output)?;
    }
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let output = arguments
        .output
        .unwrap_or_else(|| PathBuf::from(format!("{}.tar.gz", sandbox.id)));
    let query = [
        ("format", format(&output)?),
        ("path", arguments.path.as_str()),
    ];
    let url = format!("/v1/sandboxes/{}/archive", sandbox.id);
    let mut response = client
        .send(client.request(Method::GET, &url, &query))
        .await
        .map_err(|error| client.failure(error))?;
    // A file has its name when all of it is there: half of an archive looks like a whole one.
    let mut file = Target::open(&output)?;
    let bar = bar(context, None, &output.to_string_lossy());
    let mut bytes = 0;
    while let Some(part) = response
        .chunk()
        .await
        .map_err(|error| client.failure(CallError::Away(error)))?
    {
        match &mut file {
            Target::File(file) => file
                .write_all(&part)
                .naming(|| format!("cannot write {}", output.display()))?,
            Target::Stream => context.out.bytes(&part)?,
        }
        bytes += part.len() as u64;
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    if let Target::File(file) = file {
        let written = file
            .as_file()
            .sync_all()
            .and_then(|()| Ok(file.persist(&output)?));
        written.naming(|| format!("cannot write {}", output.display()))?;
        let exported = Exported {
            file: output.display().to_string(),
            bytes,
        };
        if !context.printed_as_json(&exported)? {
            context.out.line(&exported.file)?;
            context.out.note(HumanBytes(bytes).to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Target {
    File(tempfile::NamedTempFile),
    Stream,
}

impl Target {
    fn open(output: &Path) -> Result<Self, Failure> {
        if output.as_os_str() == STREAM {
            return Ok(Self::Stream);
        }
        let directory = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        tempfile::NamedTempFile::new_in(directory)
            .map(Self::File)
            .naming(|| format!("cannot write {}", output.display()))
    }
}
