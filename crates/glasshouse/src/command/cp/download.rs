//! Out of a sandbox. What the sandbox answers may be hostile: names are checked, links are not made, a file is complete
//! before it gets its name.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use glass_api::{FileKind, FileList, FileView};
use indicatif::ProgressBar;
use reqwest::Method;

use super::{Copied, bar};
use crate::client::{CallError, Client};
use crate::context::Context;
use crate::failure::{Failure, Naming};

/// How deep a tree may be, and how many entries it may have.
const DEPTH: usize = 128;
const ENTRIES: usize = 1_000_000;

struct Item {
    there: String,
    here: PathBuf,
    depth: usize,
    view: FileView,
}

pub(super) async fn run(
    context: &Context,
    client: &Client,
    sandbox: &str,
    path: &str,
    target: &Path,
) -> Result<Copied, Failure> {
    let url = format!("/v1/sandboxes/{sandbox}/files/stat");
    let view: FileView = client.get_with(&url, &[("path", path)]).await?;
    let mut copied = Copied::default();
    let here = target_path(target, &view, path)?;
    let items = walk(client, sandbox, view, here, &mut copied.left_out).await?;
    let files = |item: &&Item| item.view.kind != FileKind::Directory;
    let total = items.iter().filter(files).map(|item| item.view.size).sum();
    let bar = bar(context, total, path);
    for item in &items {
        if item.view.kind == FileKind::Directory {
            std::fs::create_dir_all(&item.here)
                .naming(|| format!("cannot make {}", item.here.display()))?;
        } else {
            copied.bytes += file(client, sandbox, item, &bar).await?;
            copied.files += 1;
        }
    }
    bar.finish_and_clear();
    Ok(copied)
}

/// Into a directory that is there, or that the path says is one; else under the name that the path gives.
fn target_path(target: &Path, view: &FileView, asked: &str) -> Result<PathBuf, Failure> {
    let says_directory = target.as_os_str().as_encoded_bytes().ends_with(b"/");
    let contents_alone = asked.ends_with("/.") || asked == ".";
    if (target.is_dir() || says_directory) && !contents_alone {
        Ok(target.join(name(&view.name)?))
    } else {
        Ok(target.to_owned())
    }
}

async fn walk(
    client: &Client,
    sandbox: &str,
    view: FileView,
    here: PathBuf,
    left_out: &mut Vec<String>,
) -> Result<Vec<Item>, Failure> {
    let url = format!("/v1/sandboxes/{sandbox}/files");
    let mut items = vec![Item {
        there: view.path.clone(),
        here,
        depth: 0,
        view,
    }];
    let mut next = 0;
    while let Some(item) = items.get(next) {
        next += 1;
        if item.view.kind != FileKind::Directory {
            continue;
        }
        let (there, here, depth) = (item.there.clone(), item.here.clone(), item.depth + 1);
        let query = [("path", there.as_str()), ("depth", "1")];
        let list: FileList = client.get_with(&url, &query).await?;
        if depth > DEPTH || items.len() + list.entries.len() > ENTRIES {
            return Err(Failure::new(format!("{there} has too many files"))
                .with_hint("pack it in the sandbox with tar and copy the archive"));
        }
        for view in list.entries {
            let name = name(&view.name)?;
            match view.kind {
                FileKind::File | FileKind::Directory => items.push(Item {
                    there: format!("{}/{name}", there.trim_end_matches('/')),
                    here: here.join(name),
                    depth,
                    view,
                }),
                FileKind::Symlink | FileKind::Other => left_out.push(view.path),
            }
        }
    }
    Ok(items)
}

async fn file(
    client: &Client,
    sandbox: &str,
    item: &Item,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let naming = || format!("cannot write {}", item.here.display());
    let directory = match item.here.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut temporary = tempfile::NamedTempFile::new_in(directory).naming(naming)?;
    let url = format!("/v1/sandboxes/{sandbox}/files/content");
    let request = client.request(Method::GET, &url, &[("path", &item.there)]);
    let mut response = client
        .send(request)
        .await
        .map_err(|error| client.failure(error))?;
    let mut bytes = 0;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| client.failure(CallError::Away(error)))?
    {
        temporary.write_all(&chunk).naming(naming)?;
        bytes += chunk.len() as u64;
        bar.inc(chunk.len() as u64);
    }
    // Read, write and execute alone; never set-user-id.
    let mode = std::fs::Permissions::from_mode(item.view.mode & 0o755 | 0o600);
    temporary.as_file().set_permissions(mode).naming(naming)?;
    temporary.persist(&item.here).naming(naming)?;
    Ok(bytes)
}

/// A name that stays in its directory.
fn name(name: &str) -> Result<&str, Failure> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name => Ok(name),
        _ => Err(Failure::new(format!(
            "the sandbox names a file {name:?}, which is no file name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", "/", "/etc", "a/b", "../x", "a/", "a/."] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        for good in ["a", ".env", "..a", "a b", "ä"] {
            assert!(name(good).is_ok(), "{good:?}");
        }
    }
}
