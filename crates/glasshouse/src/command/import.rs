//! `glasshouse import`: an archive into a sandbox.

use std::process::ExitCode;

use futures::TryStreamExt;
use glass_api::ImportView;
use indicatif::HumanBytes;
use reqwest::{Body, Method};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::archive::{STREAM, bar, format};
use crate::cli::ImportArguments;
use crate::context::Context;
use crate::failure::{Failure, Naming};
use crate::reference::resolve;

pub(crate) async fn run(
    context: &Context,
    arguments: ImportArguments,
) -> Result<ExitCode, Failure> {
    let query = [
        ("format", format(&arguments.file)?),
        ("path", arguments.path.as_str()),
    ];
    let naming = || format!("cannot read {}", arguments.file.display());
    let (source, total): (Box<dyn AsyncRead + Send + Unpin>, _) =
        if arguments.file.as_os_str() == STREAM {
            (Box::new(tokio::io::stdin()), None)
        } else {
            let file = tokio::fs::File::open(&arguments.file)
                .await
                .naming(naming)?;
            let size = file.metadata().await.naming(naming)?.len();
            (Box::new(file), Some(size))
        };
    let client = context.client()?;
    let sandbox = resolve(&client, &arguments.sandbox).await?;
    let bar = bar(context, total, &arguments.file.to_string_lossy());
    let counted = bar.clone();
    let stream = ReaderStream::with_capacity(source, 64 << 10)
        .inspect_ok(move |part| counted.inc(part.len() as u64));
    let url = format!("/v1/sandboxes/{}/archive", sandbox.id);
    let request = client
        .request(Method::PUT, &url, &query)
        .body(Body::wrap_stream(stream));
    let imported: Result<ImportView, Failure> = client.json(request).await;
    bar.finish_and_clear();
    let imported = imported?;
    if !context.printed_as_json(&imported)? {
        let plural = if imported.entries == 1 {
            "entry"
        } else {
            "entries"
        };
        context.out.note(format!(
            "{} {plural}, {}",
            imported.entries,
            HumanBytes(imported.bytes)
        ));
    }
    Ok(ExitCode::SUCCESS)
}
