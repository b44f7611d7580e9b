//! Requests with an absolute `http://` URL: passed on, and the answer back as it comes.

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::Egress;
use super::door::Door;
use super::idle::{IDLE_LIMIT, Watched};
use super::refusal::Refusal;
use super::target::Target;
use crate::body::{Body, BodyError};
use crate::forward::end_to_end;

const HTTP_PORT: u16 = 80;

pub(crate) async fn relay(
    egress: &Egress,
    door: &Door,
    request: Request<Incoming>,
) -> Response<Body> {
    let uri = request.uri();
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Refusal::Scheme.answer_about(door, &uri.to_string());
    }
    let given = uri.authority().map_or("", |a| a.as_str()).to_owned();
    let target = match Target::parse(&given, Some(HTTP_PORT)) {
        Ok(target) => target,
        Err(error) => return Refusal::from(error).answer_about(door, &given),
    };
    exchange(egress, door, &target, &given, request)
        .await
        .unwrap_or_else(|refusal| refusal.answer(door, &target))
}

async fn exchange(
    egress: &Egress,
    door: &Door,
    target: &Target,
    authority: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let room = door.room().ok_or(Refusal::TooMany)?;
    let (outside, permit) = egress.open(door, target).await?;
    let (outside, activity) = Watched::new(door.shaped(outside));
    let (mut sender, connection) = http1::handshake(TokioIo::new(outside))
        .await
        .map_err(Refusal::Answer)?;
    // As long as the answer's body: whoever drops that ends the connection.
    let (door, target) = (door.clone(), target.clone());
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::select! {
            // What goes wrong is seen by the request and by the body.
            _ = connection => {}
            () = activity.idle(IDLE_LIMIT) => {}
            // The URL is what was judged, so the host is known.
            refusal = permit.withdrawn(true) => refusal.cut(&door, &target),
        }
        drop(room);
    }));
    let answer = sender
        .send_request(outgoing(authority, request))
        .await
        .map_err(Refusal::Answer)?;
    let (mut head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it: `Upgrade` is not passed on.
        head.status = StatusCode::BAD_GATEWAY;
    }
    head.version = Version::HTTP_11;
    head.headers = end_to_end(&head.headers);
    let body = body.map_err(move |error| {
        // Named so that the closure owns it.
        let _connection = &connection;
        BodyError::from(error)
    });
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// In origin form, for the host that the URL names whatever `Host` says.
fn outgoing(authority: &str, request: Request<Incoming>) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned();
    head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    head.version = Version::HTTP_11;
    head.headers = end_to_end(&head.headers);
    if let Ok(host) = HeaderValue::from_str(authority) {
        head.headers.insert(HOST, host);
    }
    Request::from_parts(head, body)
}
