//! HTTP `/files`: reading and writing content.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use bytes::Bytes;
use futures::StreamExt as _;
use glass_guest_protocol::connect::RpcError;
use glass_guest_protocol::filesystem::WrittenFile;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use rustix::fs::{FileType, OFlags};
use tokio::io::AsyncReadExt as _;

use super::multipart::Multipart;
use super::upload::Upload;
use crate::fault;
use crate::guest::Guest;
use crate::identity::as_user;
use crate::paths::Place;
use crate::reply::{self, Body, Reply};

const PART: usize = 128 << 10;
/// How much of a refused upload is read.
const DRAIN_LIMIT: usize = 256 << 20;
/// What one request may write.
const MAX_PARTS: usize = 10_000;

/// `GET /files?path=`.
pub(crate) async fn read(guest: &Guest, request: Request<Incoming>) -> Reply {
    match open(guest, &request).await {
        Ok((file, size)) => {
            let mut reply = Response::new(contents(file, size));
            let headers = reply.headers_mut();
            headers.insert(header::CONTENT_LENGTH, size.into());
            headers.insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("application/octet-stream"),
            );
            reply
        }
        Err(error) => reply::refuse(&error),
    }
}

async fn open(
    guest: &Guest,
    request: &Request<Incoming>,
) -> Result<(tokio::fs::File, u64), RpcError> {
    let path = parameter(request, "path")
        .ok_or_else(|| fault::invalid("the query has no path, name the file to read"))?;
    let place = guest.core.root.place(path)?;
    let (file, size) = as_user(move || open_regular(&place)).await?;
    Ok((tokio::fs::File::from_std(file), size))
}

/// Opens a regular file and nothing else, without waiting for a pipe's other end.
pub(crate) fn open_regular(place: &Place) -> Result<(std::fs::File, u64), RpcError> {
    let file = place
        .open(OFlags::RDONLY | OFlags::NONBLOCK)
        .map_err(|error| place.fault(error))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| place.fault(error))?;
    let shown = place.shown();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file.into(), u64::try_from(stat.st_size).unwrap_or(0))),
        FileType::Directory => Err(fault::invalid(format!(
            "{shown} is a directory, list it or name a file in it"
        ))),
        _ => Err(fault::invalid(format!("{shown} is not a regular file"))),
    }
}

/// The first `size` bytes of a file. A file that got shorter meanwhile breaks the body off.
pub(crate) fn contents(file: tokio::fs::File, size: u64) -> Body {
    let parts = futures::stream::unfold((file.take(size), size), |(mut file, left)| async move {
        if left == 0 {
            return None;
        }
        let mut buffer = bytes::BytesMut::with_capacity(PART);
        match file.read_buf(&mut buffer).await {
            Ok(0) => Some((
                Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                (file, 0),
            )),
            Ok(length) => Some((
                Ok(Frame::data(buffer.freeze())),
                (file, left.saturating_sub(length as u64)),
            )),
            Err(error) => Some((Err(error), (file, 0))),
        }
    });
    StreamBody::new(parts).boxed_unsync()
}

/// `POST /files?path=`.
pub(crate) async fn write(guest: &Guest, request: Request<Incoming>) -> Reply {
    match store(guest, request).await {
        Ok(written) => reply::json(&written),
        Err(error) => reply::refuse(&error),
    }
}

async fn store(guest: &Guest, request: Request<Incoming>) -> Result<Vec<WrittenFile>, RpcError> {
    if let Some(encoding) = request.headers().get(header::CONTENT_ENCODING)
        && encoding.as_bytes() != b"identity"
    {
        return Err(fault::invalid(
            "content-encoding is not supported here, send the bytes as they are",
        ));
    }
    let path = parameter(&request, "path");
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut body = request.into_body().into_data_stream();
    if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        return store_parts(guest, path, Multipart::new(body, &kind)?).await;
    }
    let path =
        path.ok_or_else(|| fault::invalid("the query has no path, name the file to write"))?;
    let written = store_one(guest, path, &mut body).await;
    if written.is_err() {
        drain(&mut body).await;
    }
    Ok(vec![written?])
}

async fn store_one<S, E>(
    guest: &Guest,
    path: OsString,
    body: &mut S,
) -> Result<WrittenFile, RpcError>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut upload = Upload::begin(guest.core.root.place(path)?).await?;
    let filled = fill(&mut upload, body).await;
    finish(upload, filled).await
}

/// Reads the rest of a refused upload, within bounds: a sender whose connection closes in the middle does not hear why.
pub(super) async fn drain<S, E>(body: &mut S)
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut left = DRAIN_LIMIT;
    while let Some(Ok(part)) = body.next().await {
        match left.checked_sub(part.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

async fn fill<S, E>(upload: &mut Upload, body: &mut S) -> Result<(), RpcError>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| fault::invalid(format!("the upload broke: {error}")))?;
        upload.write(&part).await?;
    }
    Ok(())
}

/// Keeps the file, or nothing of it when it could not be filled.
async fn finish(upload: Upload, filled: Result<(), RpcError>) -> Result<WrittenFile, RpcError> {
    match filled {
        Ok(()) => upload.commit().await,
        Err(error) => {
            upload.discard().await;
            Err(error)
        }
    }
}

async fn store_parts<S, E>(
    guest: &Guest,
    path: Option<OsString>,
    mut parts: Multipart<S>,
) -> Result<Vec<WrittenFile>, RpcError>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let mut written = Vec::new();
    while let Some(name) = parts.part().await? {
        let target = match (&path, name) {
            (Some(path), _) => path.clone(),
            (None, Some(name)) => name.into(),
            (None, None) => {
                return Err(fault::invalid(
                    "a part has no filename and the query has no path, give one of them",
                ));
            }
        };
        if written.len() == MAX_PARTS {
            return Err(fault::exhausted(format!(
                "more than {MAX_PARTS} files in one request, send several"
            )));
        }
        let mut upload = Upload::begin(guest.core.root.place(target)?).await?;
        let filled = fill_part(&mut upload, &mut parts).await;
        written.push(finish(upload, filled).await?);
    }
    if written.is_empty() {
        return Err(fault::invalid("the upload has no part"));
    }
    Ok(written)
}

async fn fill_part<S, E>(upload: &mut Upload, parts: &mut Multipart<S>) -> Result<(), RpcError>
where
    S: futures::Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    while let Some(chunk) = parts.chunk().await? {
        upload.write(&chunk).await?;
    }
    Ok(())
}

pub(super) fn parameter(request: &Request<Incoming>, name: &str) -> Option<OsString> {
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| OsString::from_vec(decode(value.as_bytes(), true)))
    })
}

/// Undoes percent-encoding; `+` is a space in queries.
pub(crate) fn decode(text: &[u8], plus: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            (b'+', _, _) if plus => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn broken_percent_encoding_is_taken_as_it_is() {
        assert_eq!(decode(b"a%20b+c%", true), b"a b c%");
        assert_eq!(decode(b"%2e%2E/%zz+", false), b"../%zz+");
    }
}
