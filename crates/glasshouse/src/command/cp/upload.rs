//! Into a sandbox.

use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use glass_api::{Code, FileKind, FileView};
use indicatif::ProgressBar;
use reqwest::{Body, Method};
use tokio_util::io::ReaderStream;

use super::{Copied, bar};
use crate::client::Client;
use crate::context::Context;
use crate::failure::{Failure, Naming};

/// What is to be copied: a path here, its path below the target, and its size when it is a file.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    here: PathBuf,
    below: String,
    size: Option<u64>,
}

pub(super) async fn run(
    context: &Context,
    client: &Client,
    source: &Path,
    sandbox: &str,
    path: &str,
) -> Result<Copied, Failure> {
    let mut copied = Copied::default();
    let items = walk(source, &mut copied.left_out)?;
    let target = target(client, source, sandbox, path).await?;
    let total = items.iter().filter_map(|item| item.size).sum();
    let bar = bar(context, total, &source.to_string_lossy());
    for item in &items {
        let path = join(&target, &item.below);
        match item.size {
            None => {
                let url = format!("/v1/sandboxes/{sandbox}/files/directory");
                let request = client.request(Method::PUT, &url, &[("path", &path)]);
                let made = client.send(request).await;
                match made.map_err(|error| client.failure(error)) {
                    // What is in it is put beside what is there already.
                    Err(failure) if is_present(&failure) => {}
                    made => drop(made?),
                }
            }
            Some(_) => {
                copied.bytes += file(client, sandbox, &item.here, &path, &bar).await?;
                copied.files += 1;
            }
        }
    }
    bar.finish_and_clear();
    Ok(copied)
}

/// Into a directory that is there, or that the path says is one; else under the name that the path gives.
async fn target(
    client: &Client,
    source: &Path,
    sandbox: &str,
    path: &str,
) -> Result<String, Failure> {
    let url = format!("/v1/sandboxes/{sandbox}/files/stat");
    let found: Result<FileView, Failure> = client.get_with(&url, &[("path", path)]).await;
    let is_directory = match found {
        Ok(view) => view.kind == FileKind::Directory,
        Err(failure) if is_absent(&failure) => path.ends_with('/'),
        Err(failure) => return Err(failure),
    };
    // `site/.` means what is in `site`.
    let contents_alone = source.as_os_str().as_encoded_bytes().ends_with(b"/.");
    match source
        .file_name()
        .filter(|_| is_directory && !contents_alone)
    {
        Some(name) => Ok(join(path, &text(Path::new(name))?)),
        None => Ok(path.to_owned()),
    }
}

fn is_absent(failure: &Failure) -> bool {
    failure
        .problem()
        .is_some_and(|problem| problem.code == Code::FileNotFound)
}

fn is_present(failure: &Failure) -> bool {
    failure
        .problem()
        .is_some_and(|problem| problem.code == Code::AlreadyExists)
}

/// Everything at and below a path, parents before their children.
fn walk(source: &Path, left_out: &mut Vec<String>) -> Result<Vec<Item>, Failure> {
    let named = |error| Failure::new(format!("cannot read {}: {error}", source.display()));
    // A link that was named is meant; links further down are not followed.
    let kind = std::fs::metadata(source).map_err(named)?;
    let mut items = vec![Item {
        here: source.to_owned(),
        below: String::new(),
        size: kind.is_file().then_some(kind.len()),
    }];
    if !kind.is_dir() && !kind.is_file() {
        return Err(Failure::new(format!(
            "{} is neither a file nor a directory",
            source.display()
        )));
    }
    let mut next = 0;
    while let Some(item) = items.get(next) {
        next += 1;
        if item.size.is_some() {
            continue;
        }
        let (here, below) = (item.here.clone(), item.below.clone());
        let naming = || format!("cannot read {}", here.display());
        let mut entries = std::fs::read_dir(&here)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .naming(naming)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.metadata().naming(naming)?;
            if !kind.is_dir() && !kind.is_file() {
                left_out.push(entry.path().display().to_string());
                continue;
            }
            items.push(Item {
                below: join(&below, &text(Path::new(&entry.file_name()))?),
                here: entry.path(),
                size: kind.is_file().then_some(kind.len()),
            });
        }
    }
    Ok(items)
}

async fn file(
    client: &Client,
    sandbox: &str,
    here: &Path,
    path: &str,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let opened = tokio::fs::File::open(here)
        .await
        .naming(|| format!("cannot read {}", here.display()))?;
    let counted = bar.clone();
    let before = bar.position();
    let stream = ReaderStream::with_capacity(opened, 64 << 10)
        .inspect_ok(move |chunk| counted.inc(chunk.len() as u64));
    let url = format!("/v1/sandboxes/{sandbox}/files/content");
    let request = client
        .request(Method::PUT, &url, &[("path", path)])
        .body(Body::wrap_stream(stream));
    let view: FileView = client.json(request).await.map_err(|failure| {
        if failure.problem().is_some() {
            return failure;
        }
        failure.with_hint(format!(
            "while writing {path}: the sandbox may refuse it; try `touch` there with `glasshouse exec`"
        ))
    })?;
    // A file that grows or shrinks while it is read must not make the bar lie about the others.
    bar.set_position(before + view.size);
    Ok(view.size)
}

fn join(base: &str, below: &str) -> String {
    match (base, below) {
        ("", _) => below.to_owned(),
        (_, "") => base.to_owned(),
        _ => format!("{}/{below}", base.trim_end_matches('/')),
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("the name {} is not UTF-8", path.display()))
            .with_hint("give the file another name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_walked_parents_first_and_without_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        std::fs::create_dir_all(root.join("css")).unwrap();
        std::fs::write(root.join("index.html"), "hello").unwrap();
        std::fs::write(root.join("css/a.css"), "").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        let mut left_out = Vec::new();
        let items = walk(&root, &mut left_out).unwrap();
        let seen: Vec<(&str, Option<u64>)> = items
            .iter()
            .map(|item| (item.below.as_str(), item.size))
            .collect();
        assert_eq!(
            seen,
            [
                ("", None),
                ("css", None),
                ("index.html", Some(5)),
                ("css/a.css", Some(0))
            ]
        );
        assert_eq!(left_out, [root.join("etc").display().to_string()]);
    }

    #[test]
    fn a_missing_source_is_named() {
        let failure = walk(Path::new("/no/such"), &mut Vec::new()).unwrap_err();
        assert!(failure.message().starts_with("cannot read /no/such"));
    }

    #[test]
    fn paths_join_with_one_slash() {
        for (base, below, joined) in [
            ("a/", "b", "a/b"),
            ("", "b", "b"),
            ("a", "", "a"),
            ("/", "b", "/b"),
        ] {
            assert_eq!(join(base, below), joined);
        }
    }
}
