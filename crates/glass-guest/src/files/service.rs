//! The methods of `filesystem.Filesystem`.

use glass_guest_protocol::connect::{Code, RpcError};
use glass_guest_protocol::filesystem::{
    EntryResponse, ListDirRequest, ListDirResponse, MoveRequest, PathRequest,
};
use http::Request;
use hyper::body::Incoming;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::entry::{self, Names};
use crate::guest::Guest;
use crate::identity::as_user;
use crate::paths::{self, Place};
use crate::reply::{self, Reply};
use crate::{fault, server};

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    let root = &guest.core.root;
    match method {
        "Stat" => {
            let wanted: PathRequest = reply::unary(request).await?;
            let place = root.place(&wanted.path)?;
            as_user(move || describe(&place)).await
        }
        "ListDir" => {
            let wanted: ListDirRequest = reply::unary(request).await?;
            let place = root.place(&wanted.path)?;
            let entries = as_user(move || entry::list(&place, wanted.depth)).await?;
            Ok(reply::json(&ListDirResponse { entries }))
        }
        "MakeDir" => {
            let wanted: PathRequest = reply::unary(request).await?;
            let place = root.place(&wanted.path)?;
            as_user(move || make_dir(&place)).await
        }
        "Move" => {
            let wanted: MoveRequest = reply::unary(request).await?;
            let source = root.place(&wanted.source)?;
            let destination = root.place(&wanted.destination)?;
            as_user(move || rename(&source, &destination)).await
        }
        "Remove" => {
            let wanted: PathRequest = reply::unary(request).await?;
            let place = root.place(&wanted.path)?;
            as_user(move || {
                let (directory, name) = place.parent()?;
                paths::remove(&directory, &name).map_err(|error| place.fault(error))
            })
            .await?;
            server::done()
        }
        _ => Err(reply::unknown(method)),
    }
}

fn describe(place: &Place) -> Result<Reply, RpcError> {
    let stat = place.stat()?;
    Ok(reply::json(&EntryResponse {
        entry: entry::describe(place, &stat, &mut Names::default()),
    }))
}

fn make_dir(place: &Place) -> Result<Reply, RpcError> {
    let (directory, name) = match place.parent() {
        Err(error) if error.code == Code::NotFound => {
            place.make_parents()?;
            place.parent()?
        }
        other => other?,
    };
    match rustix::fs::mkdirat(&directory, &name, Mode::from_raw_mode(0o755)) {
        Ok(()) => describe(place),
        Err(error) => Err(place.fault(error)),
    }
}

fn rename(source: &Place, destination: &Place) -> Result<Reply, RpcError> {
    let (from, old) = source.parent()?;
    // Before anything is made for it.
    source.stat()?;
    destination.make_parents()?;
    let (to, new) = destination.parent()?;
    match rustix::fs::renameat(&from, &old, &to, &new) {
        Ok(()) => describe(destination),
        Err(Errno::XDEV) => Err(fault::precondition(format!(
            "{} and {} are on different file systems, copy instead",
            source.shown(),
            destination.shown()
        ))),
        Err(Errno::INVAL) => Err(fault::invalid(format!(
            "{} cannot be moved into itself",
            source.shown()
        ))),
        Err(error) => Err(destination.fault(error)),
    }
}
