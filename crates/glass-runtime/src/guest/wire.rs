//! Calls over a fresh HTTP/1.1 connection: unary, and streams of frames.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use glass_guest_protocol::connect::{
    Decoder, END, EndOfStream, RpcError, STREAMING, UNARY, encode,
};
use glass_guest_protocol::process::authorization;
use http::{Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{GuestClient, GuestError, GuestStream};

/// The longest unary answer that is read. A directory of a hundred thousand entries fits.
const MAX_ANSWER: usize = 64 << 20;

pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub(super) fn empty() -> Body {
    full(Bytes::new())
}

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// An answer, with the task that serves its connection. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response<Incoming>,
    connection: Connection,
}

/// Ends the connection's task when the answer is not wanted any more.
#[derive(Debug)]
pub(super) struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    pub(super) fn status(&self) -> http::StatusCode {
        self.response.status()
    }

    pub(super) fn headers(&self) -> &http::HeaderMap {
        self.response.headers()
    }

    pub(super) fn into_parts(self) -> (Incoming, Connection) {
        (self.response.into_body(), self.connection)
    }
}

impl GuestClient {
    /// One request over a connection of its own.
    pub(super) async fn http(
        &self,
        call: &str,
        request: Result<Request<Body>, http::Error>,
    ) -> Result<Answer, GuestError> {
        let mut request = request.map_err(|error| self.nonsense(call, error.to_string()))?;
        request
            .headers_mut()
            .insert(header::HOST, header::HeaderValue::from_static("guest"));
        let stream = self.runtime.guest(&self.id).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(call, error))?;
        let connection = Connection(tokio::spawn(async move {
            // A broken connection shows as an error of the body or of the answer.
            let _ = connection.await;
        }));
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(call, error))?;
        Ok(Answer {
            response,
            connection,
        })
    }

    /// Reads a whole answer, up to a limit.
    pub(super) async fn collect(&self, call: &str, answer: Answer) -> Result<Bytes, GuestError> {
        let (body, _connection) = answer.into_parts();
        let collected = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| self.broken(call, error))?;
        Ok(collected.to_bytes())
    }

    /// Turns an answer with an error status into the error that it carries.
    pub(super) async fn refusal(&self, call: &str, answer: Answer) -> GuestError {
        let status = answer.status();
        match self.collect(call, answer).await {
            Ok(body) => match serde_json::from_slice::<RpcError>(&body) {
                Ok(error) => GuestError::Refused(error),
                Err(_) => self.nonsense(call, format!("status {status} without an error")),
            },
            Err(error) => error,
        }
    }

    /// A unary call.
    pub(super) async fn unary<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: &str,
        message: &Q,
    ) -> Result<A, GuestError> {
        let payload = serde_json::to_vec(message)
            .map_err(|error| self.nonsense(method, error.to_string()))?;
        let request = Request::post(format!("/{method}"))
            .header(header::CONTENT_TYPE, UNARY)
            .body(full(payload.into()));
        let answer = self.http(method, request).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(method, answer).await);
        }
        let body = self.collect(method, answer).await?;
        serde_json::from_slice(&body).map_err(|error| self.nonsense(method, error.to_string()))
    }

    /// A call that is answered by a stream.
    pub(super) async fn streaming<Q: Serialize, A: DeserializeOwned + Send + 'static>(
        &self,
        method: &str,
        message: &Q,
        timeout: Option<std::time::Duration>,
    ) -> Result<GuestStream<A>, GuestError> {
        self.streaming_as(method, message, timeout, None).await
    }

    pub(super) async fn streaming_as<Q: Serialize, A: DeserializeOwned + Send + 'static>(
        &self,
        method: &str,
        message: &Q,
        timeout: Option<std::time::Duration>,
        user: Option<&str>,
    ) -> Result<GuestStream<A>, GuestError> {
        let payload = serde_json::to_vec(message)
            .map_err(|error| self.nonsense(method, error.to_string()))?;
        let mut request =
            Request::post(format!("/{method}")).header(header::CONTENT_TYPE, STREAMING);
        if let Some(timeout) = timeout {
            request = request.header("connect-timeout-ms", timeout.as_millis().to_string());
        }
        if let Some(user) = user {
            request = request.header(header::AUTHORIZATION, authorization(user));
        }
        let answer = self
            .http(method, request.body(full(encode(0, &payload).into())))
            .await?;
        if !answer.status().is_success() {
            return Err(self.refusal(method, answer).await);
        }
        let (body, connection) = answer.into_parts();
        let frames = Frames {
            client: self.clone(),
            method: method.to_owned(),
            body: Box::pin(body.into_data_stream()),
            connection,
            decoder: Decoder::default(),
            ended: false,
        };
        Ok(Box::pin(futures::stream::unfold(frames, |mut frames| {
            Box::pin(async move { frames.next().await.map(|item| (item, frames)) })
        })))
    }
}

struct Frames<B> {
    client: GuestClient,
    method: String,
    body: B,
    connection: Connection,
    decoder: Decoder,
    ended: bool,
}

impl<B, E> Frames<B>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    async fn next<A: DeserializeOwned>(&mut self) -> Option<Result<A, GuestError>> {
        if self.ended {
            return None;
        }
        let item = self.read().await;
        if !matches!(item, Some(Ok(_))) {
            self.ended = true;
            self.connection.0.abort();
        }
        item
    }

    async fn read<A: DeserializeOwned>(&mut self) -> Option<Result<A, GuestError>> {
        loop {
            match self.decoder.next_frame() {
                Err(error) => {
                    return Some(Err(self.client.nonsense(&self.method, error.to_string())));
                }
                Ok(Some(frame)) if frame.flags & END != 0 => {
                    return match serde_json::from_slice::<EndOfStream>(&frame.payload) {
                        Ok(EndOfStream { error: None }) => None,
                        Ok(EndOfStream { error: Some(error) }) => {
                            Some(Err(GuestError::Refused(error)))
                        }
                        Err(error) => {
                            Some(Err(self.client.nonsense(&self.method, error.to_string())))
                        }
                    };
                }
                Ok(Some(frame)) => {
                    return Some(
                        serde_json::from_slice(&frame.payload)
                            .map_err(|error| self.client.nonsense(&self.method, error.to_string())),
                    );
                }
                Ok(None) => {}
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.decoder.push(&bytes),
                Some(Err(error)) => return Some(Err(self.client.broken(&self.method, error))),
                // A stream without its last frame was cut.
                None => {
                    return Some(Err(self
                        .client
                        .broken(&self.method, "the stream was cut before its end")));
                }
            }
        }
    }
}
