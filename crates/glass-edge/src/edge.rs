//! The decision per request: an app in a sandbox, Glasshouse itself, or a page that says why not.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::body::{BoxError, FromEdge};
use crate::counters::{EdgeCounters, Outcome};
use crate::notice::{Notice, Patience, Refusal};
use crate::pool::{Origin, Pool};
use crate::wait::Wait;
use crate::{BadHost, EdgeConfig, Origins, Route, follow, headers, page, proxy, route, visitor};

/// The address of the client, in the extensions of every request that reaches Glasshouse's own routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddr(pub SocketAddr);

/// The host router in front of previews and of Glasshouse itself.
pub struct Edge<S> {
    pub(crate) shared: Arc<Shared>,
    app: S,
}

/// What all connections have in common.
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) origins: Arc<dyn Origins>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) counters: EdgeCounters,
    /// Tunnels and connections to apps, which outlive the request that made them.
    pub(crate) tasks: TaskTracker,
    /// Finish what is being answered, begin nothing new.
    pub(crate) stop: CancellationToken,
    /// The time to finish is over.
    pub(crate) kill: CancellationToken,
}

impl<S> Edge<S> {
    /// An edge that asks `origins` for connections to apps and gives all other requests to `app`,
    /// which may be an `axum::Router`. What it does with requests to previews is counted in `counters`.
    #[must_use]
    pub fn new(
        config: EdgeConfig,
        origins: Arc<dyn Origins>,
        counters: EdgeCounters,
        app: S,
    ) -> Self {
        let shared = Shared {
            pool: Arc::new(Pool::new(config.pool_idle, config.pool_size)),
            counters,
            config,
            origins,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        Self {
            shared: Arc::new(shared),
            app,
        }
    }
}

impl Shared {
    /// The outcome of something, unless it takes too long or the edge stops.
    pub(crate) async fn with_patience<T>(
        &self,
        until: Instant,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = sleep_until(until) => None,
            () = self.stop.cancelled() => None,
        }
    }
}

impl<S: Clone> Clone for Edge<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            app: self.app.clone(),
        }
    }
}

impl<S> fmt::Debug for Edge<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl<S, B> Edge<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(crate) async fn handle(
        self,
        client: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Result<Response<Either<FromEdge, B>>, BoxError> {
        let (host, route) = match host(&request) {
            Ok(Some(host)) => {
                let decision = host.to_str().map_or_else(
                    |_| malformed(&host),
                    |text| route(text, &self.shared.config),
                );
                (host, decision)
            }
            // Only HTTP/1.0 knows requests without a host.
            Ok(None) if request.version() < Version::HTTP_11 => {
                (HeaderValue::from_static(""), Route::App)
            }
            Ok(None) => {
                let host = HeaderValue::from_static("");
                let decision = malformed(&host);
                (host, decision)
            }
            Err(two) => (two.clone(), malformed(&two)),
        };
        match route {
            Route::App => {
                request.extensions_mut().insert(ClientAddr(client));
                let answer = self.app.oneshot(request).await.map_err(Into::into)?;
                Ok(answer.map(Either::Right))
            }
            Route::Preview { port, sandbox } => {
                let since = Instant::now();
                let origin = Arc::new(Origin { sandbox, port });
                let accept = request.headers().get(ACCEPT).cloned();
                let mut wait = Wait::of(&request, since, &self.shared.config);
                let answer = preview(&self.shared, origin, &host, client, &mut wait, request).await;
                let (outcome, answer) = match answer {
                    // An app's answer never has the mark.
                    Ok(answer) if answer.headers().contains_key(headers::EDGE) => {
                        (Outcome::Own, answer)
                    }
                    Ok(answer) if wait.waited => (Outcome::Held, answer),
                    Ok(answer) => (Outcome::Proxied, answer),
                    Err(refusal) => {
                        let notice = refusal.notice(&self.shared.config);
                        let accept = accept.as_ref();
                        (outcome(&notice, accept), page::answer(&notice, accept))
                    }
                };
                self.shared.counters.count(outcome, since.elapsed());
                Ok(answer.map(Either::Left))
            }
            Route::BadHost { reason } => {
                let refused = Outcome::Refused;
                self.shared.counters.count(refused, Duration::ZERO);
                let notice = Refusal::Host(reason).notice(&self.shared.config);
                let answer = page::answer(&notice, request.headers().get(ACCEPT));
                Ok(answer.map(Either::Left))
            }
        }
    }
}

/// A request to a preview, from the door on.
async fn preview(
    shared: &Arc<Shared>,
    origin: Arc<Origin>,
    host: &HeaderValue,
    client: SocketAddr,
    wait: &mut Wait,
    mut request: Request<Incoming>,
) -> Result<Response<FromEdge>, Refusal> {
    let (origins, config) = (shared.origins.as_ref(), &shared.config);
    if let Some(answer) = visitor::admit(origins, &origin, host, config, &mut request)? {
        return Ok(answer);
    }
    if request.uri().path() == follow::PATH {
        return follow::answer(shared, &origin, request.method());
    }
    proxy::forward(shared, origin, host, client, wait, request).await
}

fn outcome(notice: &Notice, accept: Option<&HeaderValue>) -> Outcome {
    if notice.patience == Patience::Warming && page::prefers_html(accept) {
        return Outcome::Warming;
    }
    let status = notice.status;
    if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED {
        Outcome::Refused
    } else {
        Outcome::Failed
    }
}

fn malformed(host: &HeaderValue) -> Route {
    let text: String = String::from_utf8_lossy(host.as_bytes())
        .chars()
        .take(80)
        .collect();
    Route::BadHost {
        reason: BadHost::Malformed(text),
    }
}

/// The host a request is for: that of its target where it has one (HTTP/2, absolute form), else `Host`.
/// An error when there are two, which other readers may understand in another way.
fn host(request: &Request<Incoming>) -> Result<Option<HeaderValue>, HeaderValue> {
    if let Some(authority) = request.uri().authority() {
        return Ok(HeaderValue::from_str(authority.as_str()).ok());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (first, None) => Ok(first.cloned()),
        (_, Some(second)) => Err(second.clone()),
    }
}
