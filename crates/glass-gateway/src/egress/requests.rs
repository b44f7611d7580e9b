//! Plain HTTP in a tunnel: a connection carries many requests, and each is judged.

use std::sync::{Mutex, PoisonError};

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::door::Door;
use super::inspect::{self, HEADERS, Stopped};
use super::refusal::Refusal;
use super::target::Target;
use crate::body::{Body, BodyError};
use crate::forward::end_to_end;

/// The requests of one tunnel.
struct Requests<'a> {
    door: &'a Door,
    target: &'a Target,
    name: &'a str,
    sender: tokio::sync::Mutex<client::SendRequest<Incoming>>,
    /// Both sides have agreed on WebSocket.
    upgrade: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
}

/// Until either side has ended. `words` is what was read of `inside` already.
pub(super) async fn pass(
    words: Vec<u8>,
    inside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    outside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    (door, target, name): (&Door, &Target, &str),
) -> Result<(), Stopped> {
    let (sender, connection) = client::Builder::new()
        .preserve_header_case(true)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(outside))
        .await?;
    let mut connection = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
    let requests = Requests {
        door,
        target,
        name,
        sender: tokio::sync::Mutex::new(sender),
        upgrade: Mutex::new(None),
    };
    serve(words, inside, &requests, &mut connection).await?;
    let upgrade = requests
        .upgrade
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some((inside, outside)) = upgrade {
        let (inside, outside) = tokio::try_join!(inside, outside)?;
        let (mut inside, mut outside) = (TokioIo::new(inside), TokioIo::new(outside));
        tokio::io::copy_bidirectional(&mut inside, &mut outside).await?;
    }
    Ok(())
}

/// Answers the requests of the inside until either side has ended or they switch to another protocol.
async fn serve(
    words: Vec<u8>,
    inside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    requests: &Requests<'_>,
    connection: &mut AbortOnDropHandle<hyper::Result<()>>,
) -> hyper::Result<()> {
    let (read, write) = tokio::io::split(inside);
    let inside = tokio::io::join(std::io::Cursor::new(words).chain(read), write);
    let served = server::Builder::new()
        .preserve_header_case(true)
        .max_headers(HEADERS)
        .auto_date_header(false)
        .serve_connection(
            TokioIo::new(inside),
            service_fn(|request| requests.answer(request)),
        )
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    tokio::select! {
        biased;
        served = served.as_mut() => served,
        _ = connection => {
            // The answer goes to its end, and no other request is taken.
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

impl Requests<'_> {
    /// An error ends the tunnel, as the end of a connection does that is kept: clients then ask again.
    async fn answer(&self, mut request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        if let Err(wrong) = inspect::request(&request, self.name) {
            return Ok(Refusal::Words(wrong).answer_within(self.door, self.target));
        }
        let inside = is_websocket(&request).then(|| hyper::upgrade::on(&mut request));
        let mut sender = self.sender.lock().await;
        sender.ready().await?;
        let mut answer = sender
            .send_request(outgoing(request, inside.is_some()))
            .await?;
        let is_switching = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let outside = (is_switching && inside.is_some()).then(|| hyper::upgrade::on(&mut answer));
        let (mut head, body) = answer.into_parts();
        head.version = Version::HTTP_11;
        match inside.zip(outside) {
            Some(both) => {
                *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(both);
            }
            None => {
                if is_switching {
                    // Nobody asked for it.
                    head.status = StatusCode::BAD_GATEWAY;
                }
                head.headers = end_to_end(&head.headers);
            }
        }
        let body = body.map_err(BodyError::from).boxed_unsync();
        Ok(Response::from_parts(head, body))
    }
}

/// The one protocol that may follow HTTP. In HTTP/2, for one, requests could not be judged any more.
fn is_websocket<B>(request: &Request<B>) -> bool {
    let mut upgrades = request.headers().get_all(UPGRADE).iter();
    let is_it = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    upgrades.next().is_some_and(is_it) && upgrades.next().is_none()
}

/// In origin form; `Host` was judged.
fn outgoing(request: Request<Incoming>, is_upgrade: bool) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    head.version = Version::HTTP_11;
    head.headers = end_to_end(&head.headers);
    if is_upgrade {
        let headers = &mut head.headers;
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    Request::from_parts(head, body)
}

impl From<hyper::Error> for Stopped {
    fn from(_: hyper::Error) -> Self {
        Self::Ended
    }
}
