//! The guest's own server for static files.

use std::convert::Infallible;
use std::io::Seek as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use glass_guest_protocol::connect::{Code, RpcError};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{FileType, OFlags, Stat};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fault;
use crate::files::{contents, decode};
use crate::identity::as_user;
use crate::paths::Root;
use crate::reply::{self, Reply};

const CONNECTIONS: usize = 512;

/// Serves the files beneath `directory`, and nothing that links lead to outside of it.
pub(super) async fn serve(
    listener: TcpListener,
    directory: PathBuf,
) -> Result<Infallible, RpcError> {
    let root = as_user(move || Root::beneath(&directory)).await?;
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let root = root.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let root = root.clone();
                async move { Ok::<_, Infallible>(answer(&root, &request).await) }
            });
            // A client that goes away is no event.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(60))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

enum Found {
    File(std::fs::File, Stat, &'static str),
    /// It is a directory, whose address ends with a slash.
    Directory,
}

async fn answer(root: &Root, request: &Request<Incoming>) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    let path = request.uri().path();
    match find(root, path).await {
        Ok(Found::File(file, stat, kind)) => {
            file_reply(file, &stat, kind, request.method(), request.headers())
        }
        Ok(Found::Directory) => {
            let mut reply = text(StatusCode::MOVED_PERMANENTLY, "");
            // Two slashes first would name another host.
            let target = format!("/{}/", path.trim_matches('/'));
            if let Ok(target) = HeaderValue::from_str(&target) {
                reply.headers_mut().insert(header::LOCATION, target);
            }
            reply
        }
        Err(error) if error.code == Code::PermissionDenied => {
            text(StatusCode::FORBIDDEN, "not allowed\n")
        }
        Err(_) => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn find(root: &Root, path: &str) -> Result<Found, RpcError> {
    let bytes = decode(path.as_bytes(), false);
    let is_hidden = |part: &[u8]| part.starts_with(b".");
    if bytes.split(|byte| *byte == b'/').any(is_hidden) || bytes.contains(&0) {
        return Err(fault::not_found(path));
    }
    let is_directory = bytes.ends_with(b"/");
    let mut relative = bytes;
    let start = relative.iter().position(|byte| *byte != b'/');
    relative.drain(..start.unwrap_or(relative.len()));
    if is_directory {
        relative.extend_from_slice(b"index.html");
    }
    // `~` has no meaning here.
    let mut name = b"./".to_vec();
    name.append(&mut relative);
    let place = root.place(std::ffi::OsString::from_vec(name))?;
    as_user(move || {
        let file = place
            .open(OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(|error| place.fault(error))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| place.fault(error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let extension = place.absolute.extension().and_then(|text| text.to_str());
                let kind = media_type(extension.unwrap_or_default());
                Ok(Found::File(file.into(), stat, kind))
            }
            FileType::Directory => Ok(Found::Directory),
            _ => Err(fault::not_found(place.shown())),
        }
    })
    .await
}

fn file_reply(
    mut file: std::fs::File,
    stat: &Stat,
    kind: &'static str,
    method: &Method,
    headers: &HeaderMap,
) -> Reply {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let tag = format!(
        "\"{:x}-{:x}-{:x}-{size:x}\"",
        stat.st_ino, stat.st_mtime, stat.st_mtime_nsec
    );
    let value = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let known = value(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags == "*"
            || tags
                .split(',')
                .any(|known| known.trim().trim_start_matches("W/") == tag)
    });
    let wants_part = value(header::IF_RANGE).is_none_or(|known| known == tag);
    let part = value(header::RANGE)
        .filter(|_| wants_part)
        .and_then(|text| range(text, size));
    let (status, start, length) = match part {
        _ if known => (StatusCode::NOT_MODIFIED, 0, 0),
        None => (StatusCode::OK, 0, size),
        Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        Some(None) => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let has_body = method == Method::GET && length > 0;
    let body = if has_body && file.seek(std::io::SeekFrom::Start(start)).is_ok() {
        contents(tokio::fs::File::from_std(file), length)
    } else {
        reply::body(bytes::Bytes::new())
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    let content_range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {start}-{}/{size}", start + length - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{size}")),
        _ => None,
    };
    if let Some(Ok(text)) = content_range.map(|text| HeaderValue::from_str(&text)) {
        headers.insert(header::CONTENT_RANGE, text);
    }
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    reply
}

/// The first and last byte of a `Range` with one part. Outer None: it is not understood, so the whole is answered;
/// inner None: there are no such bytes.
#[expect(
    clippy::option_option,
    reason = "not understood and not there are answered differently"
)]
fn range(text: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        let start = size.saturating_sub(length);
        return Some((length > 0 && size > 0).then(|| (start, size - 1)));
    }
    let first: u64 = first.parse().ok()?;
    let last: u64 = if last.is_empty() {
        u64::MAX
    } else {
        last.parse().ok()?
    };
    if last < first {
        return None;
    }
    Some((first < size).then(|| (first, last.min(size - 1))))
}

fn text(status: StatusCode, text: &'static str) -> Reply {
    reply::typed(status, "text/plain; charset=utf-8", text)
}

fn media_type(extension: &str) -> &'static str {
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(range("bytes=0-4", 10), Some(Some((0, 4))));
        assert_eq!(range("bytes=5-", 10), Some(Some((5, 9))));
        assert_eq!(range("bytes=-3", 10), Some(Some((7, 9))));
        assert_eq!(range("bytes=-30", 10), Some(Some((0, 9))));
        assert_eq!(range("bytes=8-99", 10), Some(Some((8, 9))));
    }

    #[test]
    fn ranges_that_are_not_there_or_not_understood_are_told_apart() {
        assert_eq!(range("bytes=10-", 10), Some(None));
        assert_eq!(range("bytes=-0", 10), Some(None));
        assert_eq!(range("bytes=0-", 0), Some(None));
        for text in ["bytes=4-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4"] {
            assert_eq!(range(text, 10), None, "{text}");
        }
    }
}
