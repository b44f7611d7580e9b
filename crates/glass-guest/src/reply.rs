//! Requests read, answers written: unary and streaming Connect, and plain HTTP.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use glass_guest_protocol::connect::{
    Code, Decoder, END, EndOfStream, MAX_FRAME, RpcError, STREAMING, UNARY, encode,
};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fault;

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub(crate) type Reply = Response<Body>;

pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

pub(crate) fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(body(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

pub(crate) fn json<T: Serialize>(message: &T) -> Reply {
    match serde_json::to_vec(message) {
        Ok(bytes) => typed(StatusCode::OK, UNARY, bytes),
        Err(error) => refuse(&fault::internal(error.to_string())),
    }
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body(bytes));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    reply
}

/// An error as a unary answer.
pub(crate) fn refuse(error: &RpcError) -> Reply {
    let status = if fault::is_full(error) {
        StatusCode::INSUFFICIENT_STORAGE
    } else {
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let text = serde_json::to_vec(error).unwrap_or_default();
    typed(status, UNARY, text)
}

/// The message of a unary call.
pub(crate) async fn unary<Q: DeserializeOwned>(request: Request<Incoming>) -> Result<Q, RpcError> {
    let bytes = collect(request.into_body()).await?;
    parse(&bytes)
}

/// The message of a call that is answered by a stream.
pub(crate) async fn enveloped<Q: DeserializeOwned>(
    request: Request<Incoming>,
) -> Result<Q, RpcError> {
    if !is_streaming(&request) {
        return unary(request).await;
    }
    let bytes = collect(request.into_body()).await?;
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    match decoder.next_frame() {
        Ok(Some(frame)) => parse(&frame.payload),
        Ok(None) => Err(fault::invalid("the request has no message")),
        Err(error) => Err(fault::invalid(error.to_string())),
    }
}

pub(crate) fn is_streaming(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/connect+"))
}

async fn collect(body: Incoming) -> Result<Bytes, RpcError> {
    Limited::new(body, MAX_FRAME)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| fault::invalid(format!("the request was not read: {error}")))
}

pub(crate) fn parse<Q: DeserializeOwned>(bytes: &[u8]) -> Result<Q, RpcError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| fault::invalid(format!("the request is not what was expected: {error}")))
}

/// A stream of messages, ended by a frame that says how it ended.
pub(crate) fn stream<T, S>(messages: S) -> Reply
where
    T: Serialize,
    S: Stream<Item = Result<T, RpcError>> + Send + 'static,
{
    let frames = futures::stream::unfold(Some(Box::pin(messages)), |state| async move {
        let mut messages = state?;
        let (bytes, rest) = match messages.next().await {
            Some(Ok(message)) => match serde_json::to_vec(&message) {
                Ok(payload) => (encode(0, &payload), Some(messages)),
                Err(error) => (end(Some(fault::internal(error.to_string()))), None),
            },
            Some(Err(error)) => (end(Some(error)), None),
            None => (end(None), None),
        };
        Some((Ok(Frame::data(Bytes::from(bytes))), rest))
    });
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(STREAMING),
    );
    reply
}

/// An error of a streaming call before its first message. Connect wants status 200 and the error in the last frame.
pub(crate) fn refuse_stream(error: RpcError) -> Reply {
    stream::<(), _>(futures::stream::iter([Err(error)]))
}

fn end(error: Option<RpcError>) -> Vec<u8> {
    let payload = serde_json::to_vec(&EndOfStream { error }).unwrap_or_else(|_| b"{}".to_vec());
    encode(END, &payload)
}

/// The value of a header that is a whole number.
pub(crate) fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    request.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// No such method.
pub(crate) fn unknown(path: &str) -> RpcError {
    let shown: String = path.chars().take(128).collect();
    RpcError::new(Code::Unimplemented, format!("no method {shown:?}"))
}
