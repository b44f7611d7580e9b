//! A directory as one archive, out of the sandbox and into it: `GET /archive` and `PUT /archive`.
//!
//! The work is done on a thread that may block and that has the user's file system identity; bytes go through a channel
//! of a few parts, so a slow reader or writer holds the work back and nothing piles up. A few are worked on at once: each
//! holds one of the threads that all that touches files needs, for as long as whoever reads or writes it likes.

mod export;
mod extract;
mod import;
mod limits;
mod merge;
mod pipe;
mod tarball;
mod zipped;

use std::ffi::OsString;

use glass_guest_protocol::connect::RpcError;
use http::Request;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::transfer::parameter;
use crate::fault;

pub(crate) use export::read;
pub(crate) use import::write;

/// How deep directories are held open.
const DEPTH: usize = 500;
/// How many archives are worked on at once; the others wait.
static AT_ONCE: Semaphore = Semaphore::const_new(4);
/// Names of directories that an import works in.
const WORK: &str = ".glasshouse-import-";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    TarGz,
    Zip,
}

/// What the query asks for.
fn asked(request: &Request<Incoming>) -> Result<(Format, OsString), RpcError> {
    let format = parameter(request, "format").unwrap_or_default();
    let format = match format.to_str() {
        Some("tar.gz") => Format::TarGz,
        Some("zip") => Format::Zip,
        _ => {
            return Err(fault::invalid(format!(
                "format {:?} is not known, give tar.gz or zip",
                format.display()
            )));
        }
    };
    let path = parameter(request, "path")
        .ok_or_else(|| fault::invalid("the query has no path, name a directory"))?;
    Ok((format, path))
}
