//! An archive into a directory: unpacked aside, judged, then moved in.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::filesystem::Imported;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::super::transfer::drain;
use super::extract::Extract;
use super::limits::Limits;
use super::merge::merge;
use super::pipe::{self, Inlet};
use super::{AT_ONCE, Format, WORK, asked, tarball, zipped};
use crate::fault;
use crate::guest::Guest;
use crate::identity::as_user;
use crate::paths::{self, Place};
use crate::reply::{self, Reply};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// `PUT /archive?path=&format=`.
pub(crate) async fn write(guest: &Guest, request: Request<Incoming>) -> Reply {
    match store(guest, request).await {
        Ok(imported) => reply::json(&imported),
        Err(error) => reply::refuse(&error),
    }
}

async fn store(guest: &Guest, request: Request<Incoming>) -> Result<Imported, RpcError> {
    let asked = asked(&request);
    let mut body = request.into_body().into_data_stream();
    let (format, path) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            drain(&mut body).await;
            return Err(error);
        }
    };
    let place = guest.core.root.place(path)?;
    let (to, from) = tokio::sync::mpsc::channel(pipe::DEPTH);
    let work = async {
        let turn = AT_ONCE.acquire().await;
        as_user(move || {
            let _turn = turn;
            import(&place, format, Inlet::new(from))
        })
        .await
    };
    let feed = async {
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| io::Error::other(format!("the upload broke: {error}")));
            let broke = part.is_err();
            if to.send(part).await.is_err() {
                // It was refused; the answer says why.
                drain(&mut body).await;
                return;
            }
            if broke {
                return;
            }
        }
        drop(to);
    };
    tokio::join!(work, feed).0
}

fn import(place: &Place, format: Format, inlet: Inlet) -> Result<Imported, RpcError> {
    // The last part is a name below the directory that is wanted, so that this one is made, too.
    place.join("x".as_ref()).make_parents()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
    let target = place.open(flags).map_err(|error| place.fault(error))?;
    let work = Work::make(target).map_err(|error| place.fault(error))?;
    let space = rustix::fs::fstatvfs(&work.directory).map_err(|error| place.fault(error))?;
    let space = space.f_bavail.saturating_mul(space.f_frsize);
    let top = work
        .directory
        .try_clone()
        .map_err(|error| place.fault(error))?;
    let mut extract = Extract::new(top, Limits::new(space, inlet.count()));
    match format {
        Format::TarGz => tarball::read(inlet, &mut extract)?,
        Format::Zip => zipped::read(inlet, &work.directory, &mut extract)?,
    }
    // On the disk before it is in its place: a file that is there is whole.
    rustix::fs::syncfs(&work.directory).map_err(|error| place.fault(error))?;
    merge(&work.directory, &work.target).map_err(|error| {
        fault::internal(format!(
            "{}: {error}; a part of the archive has been moved in already",
            place.shown()
        ))
    })?;
    Ok(Imported {
        entries: extract.limits.entries(),
        bytes: extract.limits.bytes(),
    })
}

/// A directory beside the files that it will become, removed with what is left in it.
#[derive(Debug)]
struct Work {
    target: OwnedFd,
    directory: OwnedFd,
    name: OsString,
}

impl Work {
    fn make(target: OwnedFd) -> io::Result<Self> {
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!("{WORK}{}-{number}", std::process::id()));
            match rustix::fs::mkdirat(&target, &name, Mode::RWXU) {
                Ok(()) => {}
                // Of a guest before this one.
                Err(Errno::EXIST) => {
                    paths::remove(&target, &name)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&target, &name, flags, Mode::empty())?;
            return Ok(Self {
                target,
                directory,
                name,
            });
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Whatever cannot be removed shows in a listing; the answer has been decided.
        let _ = paths::remove(&self.target, &self.name);
    }
}
