//! Files.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use glass_guest_protocol::connect::Empty;
use glass_guest_protocol::filesystem::{
    Entry, EntryResponse, Imported, ListDirRequest, ListDirResponse, MoveRequest, PathRequest,
    WrittenFile,
};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde::de::DeserializeOwned;

use super::{FileStream, GuestClient, GuestError};

impl GuestClient {
    /// What is at `path`.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`.
    pub async fn stat(&self, path: &str) -> Result<Entry, GuestError> {
        self.entry("Stat", path).await
    }

    /// What is in the directory `path`, `depth` levels deep (at least 1).
    ///
    /// # Errors
    /// `NotFound`, `InvalidArgument` if it is no directory, `ResourceExhausted` if there is too much in it.
    pub async fn list_dir(&self, path: &str, depth: u32) -> Result<Vec<Entry>, GuestError> {
        let request = ListDirRequest {
            path: path.to_owned(),
            depth,
        };
        let answer: ListDirResponse = self
            .unary("filesystem.Filesystem/ListDir", &request)
            .await?;
        Ok(answer.entries)
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub async fn make_dir(&self, path: &str) -> Result<Entry, GuestError> {
        self.entry("MakeDir", path).await
    }

    /// Moves a file or directory; a file at the destination is replaced.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn move_(&self, source: &str, destination: &str) -> Result<Entry, GuestError> {
        let request = MoveRequest {
            source: source.to_owned(),
            destination: destination.to_owned(),
        };
        let answer: EntryResponse = self.unary("filesystem.Filesystem/Move", &request).await?;
        Ok(answer.entry)
    }

    /// Removes a file, or a directory with all that is in it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove(&self, path: &str) -> Result<(), GuestError> {
        let request = PathRequest {
            path: path.to_owned(),
        };
        let Empty {} = self.unary("filesystem.Filesystem/Remove", &request).await?;
        Ok(())
    }

    /// Reads a file: its size, and its bytes as they come.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` if it is not a regular file.
    pub async fn read_file(&self, path: &str) -> Result<(u64, FileStream), GuestError> {
        let call = "reading a file";
        let (headers, bytes) = self.download(call, files_uri(path)).await?;
        let size = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .ok_or_else(|| self.nonsense(call, "no content-length"))?;
        Ok((size, bytes))
    }

    /// Writes a file and its parent directories. The file is replaced when all bytes have come, or left as it was.
    ///
    /// # Errors
    /// `ResourceExhausted` if the disk is full, `InvalidArgument` if `path` is a directory.
    pub async fn write_file<S, E>(&self, path: &str, bytes: S) -> Result<WrittenFile, GuestError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let call = "writing a file";
        let request = Request::post(files_uri(path));
        let written: Vec<WrittenFile> = self.upload(call, request, bytes).await?;
        written
            .into_iter()
            .next()
            .ok_or_else(|| self.nonsense(call, "no entry"))
    }

    /// A directory as an archive, `tar.gz` or `zip`, as its bytes come. A stream that ends in an error is not whole.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` if it is no directory, or has names that the format cannot hold.
    pub async fn read_archive(&self, path: &str, format: &str) -> Result<FileStream, GuestError> {
        let uri = archive_uri(path, format);
        let (_, bytes) = self.download("exporting files", uri).await?;
        Ok(bytes)
    }

    /// Unpacks an archive into a directory, which is made if it is missing. Nothing changes there before all of the
    /// archive was found to be in order.
    ///
    /// # Errors
    /// `InvalidArgument` names the entry that was refused and why, `ResourceExhausted` if the disk is too small.
    pub async fn write_archive<S, E>(
        &self,
        path: &str,
        format: &str,
        bytes: S,
    ) -> Result<Imported, GuestError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = Request::put(archive_uri(path, format));
        self.upload("importing files", request, bytes).await
    }

    /// The head of an answer, and its bytes as they come.
    async fn download(
        &self,
        call: &'static str,
        uri: String,
    ) -> Result<(HeaderMap, FileStream), GuestError> {
        let request = Request::get(uri).body(super::wire::empty());
        let answer = self.http(call, request).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(call, answer).await);
        }
        let headers = answer.headers().clone();
        let client = self.clone();
        let (body, connection) = answer.into_parts();
        let bytes = body.into_data_stream().map(move |part| {
            let _held = &connection;
            part.map_err(|error| client.broken(call, error))
        });
        Ok((headers, Box::pin(bytes)))
    }

    /// Sends bytes as they come, and reads what became of them.
    async fn upload<S, E, A>(
        &self,
        call: &'static str,
        request: http::request::Builder,
        bytes: S,
    ) -> Result<A, GuestError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        A: DeserializeOwned,
    {
        let body = StreamBody::new(bytes.map(|part| part.map(Frame::data).map_err(Into::into)));
        let request = request
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body.boxed_unsync());
        let answer = self.http(call, request).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(call, answer).await);
        }
        let body = self.collect(call, answer).await?;
        serde_json::from_slice(&body).map_err(|error| self.nonsense(call, error.to_string()))
    }

    async fn entry(&self, method: &str, path: &str) -> Result<Entry, GuestError> {
        let request = PathRequest {
            path: path.to_owned(),
        };
        let answer: EntryResponse = self
            .unary(&format!("filesystem.Filesystem/{method}"), &request)
            .await?;
        Ok(answer.entry)
    }
}

fn files_uri(path: &str) -> String {
    encoded("/files?path=", path)
}

fn archive_uri(path: &str, format: &str) -> String {
    encoded(&format!("/archive?format={format}&path="), path)
}

fn encoded(before: &str, path: &str) -> String {
    use std::fmt::Write as _;
    let mut uri = before.to_owned();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => write!(uri, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    uri
}
