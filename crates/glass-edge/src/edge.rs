//! The decision per request: an app in a sandbox, Glasshouse itself, or a page that says why not.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use http_body_util::Either;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

use crate::body::{BoxError, FromEdge};
use crate::page::Refusal;
use crate::pool::{Origin, Pool};
use crate::{BadHost, EdgeConfig, Origins, Route, proxy, route};

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
    /// Tunnels and connections to apps, which outlive the request that made them.
    pub(crate) tasks: TaskTracker,
    /// Finish what is being answered, begin nothing new.
    pub(crate) stop: CancellationToken,
    /// The time to finish is over.
    pub(crate) kill: CancellationToken,
}

impl<S> Edge<S> {
    /// An edge that asks `origins` for connections to apps and gives all other requests to `app`,
    /// which may be an `axum::Router`.
    #[must_use]
    pub fn new(config: EdgeConfig, origins: Arc<dyn Origins>, app: S) -> Self {
        let shared = Shared {
            pool: Arc::new(Pool::new(config.pool_idle, config.pool_size)),
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
                let origin = Arc::new(Origin { sandbox, port });
                let accept = request.headers().get(ACCEPT).cloned();
                let answer = proxy::forward(&self.shared, origin, &host, client, request)
                    .await
                    .unwrap_or_else(|refusal| refusal.page(accept.as_ref(), &self.shared.config));
                Ok(answer.map(Either::Left))
            }
            Route::BadHost { reason } => {
                let accept = request.headers().get(ACCEPT);
                let answer = Refusal::Host(reason).page(accept, &self.shared.config);
                Ok(answer.map(Either::Left))
            }
        }
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
