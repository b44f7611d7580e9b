//! Accepting connections, and letting go of them.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tower::Service;
use tracing::{debug, warn};

use crate::Edge;
use crate::body::BoxError;
use crate::edge::Shared;
use crate::linger::{Lent, linger};
use crate::sniff::{Protocol, sniff};

/// A client whose machine is gone is noticed after a minute and a half, not after two hours.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// HTTP/2 clients are asked as often whether they are there.
const PING: Duration = Duration::from_secs(20);
/// After running out of file descriptors: the time in which some may come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs the streams of HTTP/2 connections, which are tasks of their own, no longer than the edge.
#[derive(Clone)]
struct Streams(Arc<Shared>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let kill = self.0.kill.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                _ = stream => {}
                () = kill.cancelled() => {}
            }
        });
    }
}

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they did not finish in time.
    pub cut: usize,
}

impl<S, B> Edge<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves HTTP/1.1 and HTTP/2 until `shutdown` is ready, then finishes what is being answered.
    ///
    /// Tunnels are cut at once, since their clients connect again by themselves; requests get the drain time of the
    /// configuration. Nothing that the edge started runs on after this returns. An edge is served once.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future) -> Drained {
        let shared = &self.shared;
        let permits = Arc::new(Semaphore::new(shared.config.connections));
        let mut connections = JoinSet::new();
        let mut sweep = interval(shared.config.pool_idle.max(Duration::from_millis(10)));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                let permit = Arc::clone(&permits).acquire_owned().await;
                (listener.accept().await, permit)
            };
            tokio::select! {
                _ = &mut shutdown => break,
                _ = sweep.tick() => shared.pool.sweep(),
                Some(_) = connections.join_next() => {}
                (accepted, permit) = accepted => match accepted {
                    Ok((stream, client)) => {
                        let edge = self.clone();
                        connections.spawn(async move {
                            edge.connection(stream, client).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        warn!(%error, "failed to accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let deadline = Instant::now() + shared.config.drain_timeout;
        shared.stop.cancel();
        while let Ok(Some(_)) = timeout_at(deadline, connections.join_next()).await {}
        let cut = connections.len();
        connections.shutdown().await;
        // With the clients gone nobody waits for an app any more.
        shared.pool.clear();
        shared.kill.cancel();
        shared.tasks.close();
        shared.tasks.wait().await;
        Drained { cut }
    }

    async fn connection(self, stream: TcpStream, client: SocketAddr) {
        if let Err(error) = tune(&stream) {
            debug!(%error, "failed to set socket options");
        }
        let shared = Arc::clone(&self.shared);
        let (config, stop) = (&shared.config, &shared.stop);
        let sniffed = tokio::select! {
            sniffed = timeout(config.header_timeout, sniff(stream)) => sniffed,
            () = stop.cancelled() => return,
        };
        let Ok(Ok((protocol, stream))) = sniffed else {
            return;
        };
        let service = service_fn(move |request| self.clone().handle(client, request));
        let (stream, mut back) = Lent::new(stream);
        let stream = TokioIo::new(stream);
        let ended = match protocol {
            Protocol::Http1 => {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(config.header_timeout)
                    .max_header_size(config.header_bytes)
                    .serve_connection(stream, service)
                    .with_upgrades();
                let mut connection = pin!(connection);
                tokio::select! {
                    ended = &mut connection => ended,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
            Protocol::Http2 => {
                let header_bytes = u32::try_from(config.header_bytes).unwrap_or(u32::MAX);
                let connection = http2::Builder::new(Streams(Arc::clone(&shared)))
                    .timer(TokioTimer::new())
                    .max_header_list_size(header_bytes)
                    .keep_alive_interval(PING)
                    .serve_connection(stream, service);
                let mut connection = pin!(connection);
                tokio::select! {
                    ended = &mut connection => ended,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        };
        if let Err(error) = ended {
            debug!(%error, %client, "connection of a client broke");
        }
        if let Ok(stream) = back.try_recv() {
            tokio::select! {
                () = linger(stream) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 6)?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}
