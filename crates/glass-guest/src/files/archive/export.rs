//! A directory into an archive.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use glass_guest_protocol::connect::RpcError;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{AT_ONCE, DEPTH, Format, WORK, asked, pipe, tarball, zipped};
use crate::fault;
use crate::guest::Guest;
use crate::identity::as_user;
use crate::paths::Place;
use crate::reply::{self, Reply};

/// One entry on its way out.
pub(super) enum Item<'a> {
    Directory,
    File(&'a mut File, u64),
    Symlink(&'a CStr),
}

/// What entries are written to. Paths are relative, without `.` or `..`.
pub(super) trait Sink {
    fn add(&mut self, path: &[u8], stat: &Stat, item: Item<'_>) -> io::Result<()>;
}

/// `GET /archive?path=&format=`.
pub(crate) async fn read(guest: &Guest, request: Request<Incoming>) -> Reply {
    match open(guest, &request).await {
        Ok((directory, format)) => answer(directory, format).await,
        Err(error) => reply::refuse(&error),
    }
}

async fn open(guest: &Guest, request: &Request<Incoming>) -> Result<(OwnedFd, Format), RpcError> {
    let (format, path) = asked(request)?;
    let place = guest.core.root.place(path)?;
    let directory = as_user(move || {
        let directory = open_directory(&place)?;
        if format == Format::Zip {
            // Found before the first byte: afterwards an answer can only break off.
            walk(&directory, &mut Names).map_err(|error| place.fault(error))?;
        }
        Ok(directory)
    })
    .await?;
    Ok((directory, format))
}

fn open_directory(place: &Place) -> Result<OwnedFd, RpcError> {
    place
        .open(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR) => fault::invalid(format!("{} is not a directory", place.shown())),
            _ => place.fault(error),
        })
}

async fn answer(directory: OwnedFd, format: Format) -> Reply {
    let (to, from) = tokio::sync::mpsc::channel(pipe::DEPTH);
    let turn = AT_ONCE.acquire().await;
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let outlet = pipe::Outlet::new(to.clone());
        let written = match format {
            Format::TarGz => tarball::write(&directory, outlet),
            Format::Zip => zipped::write(&directory, outlet),
        };
        if let Err(error) = written {
            // The body breaks off, so that nobody takes a half for the whole. Who has gone does not mind.
            let _ = to.blocking_send(Err(error));
        }
    });
    let parts = futures::stream::unfold(from, |mut from| async move {
        let part = from.recv().await?;
        Some((part.map(Frame::data), from))
    });
    let mut reply = Response::new(StreamBody::new(parts).boxed_unsync());
    let kind = match format {
        Format::TarGz => "application/gzip",
        Format::Zip => "application/zip",
    };
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    reply
}

/// Looks whether all names are text, and what links lead to.
struct Names;

impl Sink for Names {
    fn add(&mut self, path: &[u8], _: &Stat, item: Item<'_>) -> io::Result<()> {
        let refused = |what| {
            let path = OsStr::from_bytes(path);
            let reason = format!("{path:?} {what}, which a zip cannot hold; ask for tar.gz");
            Err(io::Error::other(reason))
        };
        if std::str::from_utf8(path).is_err() {
            return refused("has a name that is no text");
        }
        match item {
            Item::Symlink(target) if target.to_str().is_err() => {
                refused("links to what is no text")
            }
            Item::Symlink(_) | Item::Directory | Item::File(..) => Ok(()),
        }
    }
}

/// Gives all that is below a directory to the sink, in the order of names. Links are given, not followed; what is
/// neither file, directory nor link is left out, and so is what goes away meanwhile.
pub(super) fn walk(directory: &OwnedFd, sink: &mut impl Sink) -> io::Result<()> {
    descend(directory, &mut Vec::new(), DEPTH, sink)
}

fn descend(
    directory: &OwnedFd,
    path: &mut Vec<u8>,
    depth: usize,
    sink: &mut impl Sink,
) -> io::Result<()> {
    for name in names(directory)? {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend(name.to_bytes());
        one(directory, &name, path, depth, sink)?;
        path.truncate(length);
    }
    Ok(())
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") && !name.as_bytes().starts_with(WORK.as_bytes())
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn one(
    directory: &OwnedFd,
    name: &CStr,
    path: &mut Vec<u8>,
    depth: usize,
    sink: &mut impl Sink,
) -> io::Result<()> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let open = |flags| {
        rustix::fs::openat(
            directory,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let shown = || OsStr::from_bytes(path).to_owned();
            if depth == 0 {
                return Err(io::Error::other(format!(
                    "{:?} lies deeper than {DEPTH} directories",
                    shown()
                )));
            }
            let child = match open(OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(child) => child,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                Err(error) => return Err(io::Error::other(format!("{:?}: {error}", shown()))),
            };
            sink.add(path, &stat, Item::Directory)?;
            descend(&child, path, depth - 1, sink)
        }
        FileType::RegularFile => {
            let mut file: File = match open(OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(file) => file.into(),
                Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
                Err(error) => {
                    return Err(io::Error::other(format!(
                        "{:?}: {error}",
                        OsStr::from_bytes(path)
                    )));
                }
            };
            // Of what is open: the name may mean another file by now.
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(());
            }
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            sink.add(path, &stat, Item::File(&mut file, size))
        }
        FileType::Symlink => match rustix::fs::readlinkat(directory, name, Vec::new()) {
            Ok(target) => sink.add(path, &stat, Item::Symlink(&target)),
            Err(Errno::NOENT | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        },
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Ok(()),
    }
}

/// Exactly so many bytes of a file: a program may be writing it, and its size has been said already.
pub(super) fn exactly(file: &mut File, size: u64) -> impl io::Read + '_ {
    use io::Read as _;
    file.take(size).chain(io::repeat(0)).take(size)
}
