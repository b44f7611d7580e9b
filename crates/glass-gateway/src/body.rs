//! Request and response bodies.

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

/// What an answer's body fails with: the connection is then cut, never ended cleanly.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// The largest request that is taken. Providers take 32 MB.
pub(crate) const REQUEST_LIMIT: usize = 32 * 1024 * 1024;

/// How much of a request that is too large is read away, so that its sender gets to read why it was refused.
const DRAIN_LIMIT: usize = 2 * REQUEST_LIMIT;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn json(status: http::StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Why a request body could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the request is larger than {} MiB", REQUEST_LIMIT / 1024 / 1024)]
    TooLarge,
    #[error("the request was cut off")]
    Cut(#[source] hyper::Error),
}

/// The whole body, at most [`REQUEST_LIMIT`].
pub(crate) async fn read(mut body: Incoming) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(ReadError::Cut)?.into_data() {
            if bytes.len() + data.len() > REQUEST_LIMIT {
                drain(body).await;
                return Err(ReadError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Reads and drops what is still coming, within bounds.
pub(crate) async fn drain(mut body: Incoming) {
    let mut seen = 0;
    while seen < DRAIN_LIMIT {
        match body.frame().await {
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}
