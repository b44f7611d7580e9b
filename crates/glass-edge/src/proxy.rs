//! One request to an app, and its answer back.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tracing::debug;

use crate::body::{FromEdge, Leased, ToApp};
use crate::edge::Shared;
use crate::notice::Refusal;
use crate::pool::{Lease, Origin};
use crate::wait::{Pause, Wait};
use crate::{Held, Unreachable, headers};

/// Each direction of a tunnel. Small, because a page may hold many for hours.
const TUNNEL_BUFFER: usize = 16 * 1024;

/// Sends a request to an app, waking its sandbox first. `host` is what the client called it.
///
/// What cannot be repeated is never sent over a connection that may be stale, and never sent twice: until the app has
/// taken a fresh connection not a byte of it is read.
pub(crate) async fn forward(
    shared: &Arc<Shared>,
    origin: Arc<Origin>,
    host: &HeaderValue,
    client: SocketAddr,
    wait: &mut Wait,
    mut request: Request<Incoming>,
) -> Result<Response<FromEdge>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::NotOffered("CONNECT"));
    }
    if !headers::plain_framing(request.headers()) {
        return Err(Refusal::NotOffered(
            "a Transfer-Encoding other than chunked",
        ));
    }
    let held = wait.enter(shared, &origin.sandbox).await?;
    let switch = Switch::asked_by(&mut request);
    let (mut head, body) = request.into_parts();
    let body: ToApp = if body.is_end_stream() {
        Either::Right(Empty::new())
    } else {
        Either::Left(body)
    };
    headers::clean_request(&mut head.headers, &shared.config, host, client.ip());
    if let Some(switch) = &switch {
        switch.announce(&mut head.headers);
    } else if matches!(body, Either::Left(_)) && !head.headers.contains_key(CONTENT_LENGTH) {
        // Without it hyper would drop the body of a GET.
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(TRANSFER_ENCODING, chunked);
    }
    head.version = Version::HTTP_11;
    head.uri = origin_form(&head.uri);
    head.extensions = http::Extensions::new();

    let repeatable =
        switch.is_none() && head.method.is_idempotent() && matches!(body, Either::Right(_));
    if repeatable && let Some(mut sender) = shared.pool.take(&origin) {
        let copy = Request::from_parts(head.clone(), Either::Right(Empty::new()));
        match sender.try_send_request(copy).await {
            Ok(answer) => return back(shared, origin, sender, answer, None, held),
            Err(error) if error.error().is_parse() => {
                return Err(Refusal::bad_answer(&origin, error.into_error()));
            }
            // The app hung up before the request came. A fresh connection tells whether it is still there.
            Err(error) => debug!(error = %error.error(), "pooled connection was stale"),
        }
    }
    let mut sender = dial(shared, &origin, wait).await?;
    match sender.send_request(Request::from_parts(head, body)).await {
        Ok(answer) => back(shared, origin, sender, answer, switch, held),
        Err(error) => Err(Refusal::bad_answer(&origin, error)),
    }
}

/// Makes a new connection to an app that may have to start first, and drives it.
async fn dial(
    shared: &Arc<Shared>,
    origin: &Origin,
    wait: &mut Wait,
) -> Result<SendRequest<ToApp>, Refusal> {
    let limit = shared.config.connect_timeout;
    let mut pause = Pause::new();
    let stream = loop {
        let connecting = shared.origins.connect(&origin.sandbox, origin.port);
        let connected = timeout(limit, connecting)
            .await
            .map_err(|_| Refusal::ConnectTimeout {
                origin: origin.clone(),
                limit,
            })?;
        match connected {
            Ok(stream) => break stream,
            Err(Unreachable::AppStarting { .. }) if wait.pause(shared, &mut pause).await => {}
            Err(unreachable) => return Err(unreachable.into()),
        }
    };
    let (sender, connection) = Builder::new()
        .max_header_size(shared.config.header_bytes)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Refusal::bad_answer(origin, error))?;
    let kill = shared.kill.clone();
    shared.tasks.spawn(async move {
        tokio::select! {
            ended = connection.with_upgrades() => {
                if let Err(error) = ended {
                    debug!(%error, "connection to an app broke");
                }
            }
            () = kill.cancelled() => {}
        }
    });
    Ok(sender)
}

/// Makes an app's answer the edge's.
fn back(
    shared: &Arc<Shared>,
    origin: Arc<Origin>,
    sender: SendRequest<ToApp>,
    mut answer: Response<Incoming>,
    switch: Option<Switch>,
    held: Box<dyn Held>,
) -> Result<Response<FromEdge>, Refusal> {
    if !headers::plain_framing(answer.headers()) {
        return Err(Refusal::odd_answer(
            &origin,
            "its answer has a Transfer-Encoding other than chunked",
        ));
    }
    let protocol = headers::upgrade(answer.headers());
    let name = format!(
        "{}-{}.{}",
        origin.port, origin.sandbox, shared.config.preview_domain
    );
    headers::clean_response(answer.headers_mut(), &shared.config, &name);
    // An app that speaks HTTP/1.0 does not end the client's connection.
    *answer.version_mut() = Version::HTTP_11;

    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(switch), Some(protocol)) = (switch, protocol) else {
            return Err(Refusal::odd_answer(
                &origin,
                "it switched protocols without being asked",
            ));
        };
        let app = hyper::upgrade::on(&mut answer);
        Switch { protocol, ..switch }.tunnel(shared, answer.headers_mut(), app, held);
        return Ok(answer.map(|_| FromEdge::Page(Full::default())));
    }
    let lease = Lease {
        pool: Arc::clone(&shared.pool),
        origin,
        sender,
    };
    Ok(answer.map(|body| FromEdge::App(Leased::new(body, lease, held))))
}

/// What an HTTP/1.1 server wants to see in the request line.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// A client that wants to leave HTTP, for WebSocket or anything else.
struct Switch {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Switch {
    fn asked_by(request: &mut Request<Incoming>) -> Option<Self> {
        if request.version() != Version::HTTP_11 {
            return None;
        }
        let protocol = headers::upgrade(request.headers())?;
        let client = hyper::upgrade::on(request);
        Some(Self { protocol, client })
    }

    fn announce(&self, headers: &mut http::HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Passes bytes both ways until either side ends, or the edge stops.
    fn tunnel(
        self,
        shared: &Arc<Shared>,
        answer: &mut http::HeaderMap,
        app: OnUpgrade,
        held: Box<dyn Held>,
    ) {
        self.announce(answer);
        let client = self.client;
        let of_all = Arc::clone(shared);
        shared.tasks.spawn(async move {
            let _held = held;
            let _counted = of_all.counters.tunnel();
            let joined = async {
                let (client, app) = tokio::try_join!(client, app)?;
                let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
                tokio::io::copy_bidirectional_with_sizes(
                    &mut client,
                    &mut app,
                    TUNNEL_BUFFER,
                    TUNNEL_BUFFER,
                )
                .await?;
                Ok::<_, crate::body::BoxError>(())
            };
            tokio::select! {
                ended = joined => {
                    if let Err(error) = ended {
                        debug!(%error, "tunnel broke");
                    }
                }
                () = of_all.stop.cancelled() => {}
            }
        });
    }
}
