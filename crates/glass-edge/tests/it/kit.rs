//! An edge, apps behind it, and clients in front of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use glass_edge::{Drained, Edge, EdgeConfig, Origins, Stream, Unreachable};
use glass_types::SandboxId;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const ID: &str = "abcdefghijklmno1";
pub(crate) const STOPPED: &str = "stopped000000000";
/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Ports of the one running sandbox, and where they are in truth.
#[derive(Default)]
pub(crate) struct World {
    ports: Mutex<HashMap<u16, SocketAddr>>,
    connects: watch::Sender<usize>,
}

#[async_trait]
impl Origins for World {
    async fn connect(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<Box<dyn Stream>, Unreachable> {
        self.connects.send_modify(|count| *count += 1);
        match sandbox.as_str() {
            ID => {}
            STOPPED => {
                return Err(Unreachable::NotRunning {
                    sandbox: sandbox.clone(),
                    state: "stopped".to_owned(),
                });
            }
            other => return Err(Unreachable::UnknownSandbox(other.to_owned())),
        }
        // A port that accepts nothing, ever.
        if port == 9 {
            std::future::pending::<()>().await;
        }
        let (address, mut open) = {
            let ports = self.ports.lock().unwrap();
            (
                ports.get(&port).copied(),
                ports.keys().copied().collect::<Vec<_>>(),
            )
        };
        open.sort_unstable();
        let closed = || Unreachable::PortClosed {
            sandbox: sandbox.clone(),
            port,
            open,
        };
        let Some(address) = address else {
            return Err(closed());
        };
        match TcpStream::connect(address).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(_) => Err(closed()),
        }
    }
}

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<Drained>>,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut EdgeConfig)) -> Self {
        let world = Arc::new(World::default());
        let mut config = EdgeConfig::new("preview.localhost", 8080);
        config.connect_timeout = Duration::from_millis(300);
        change(&mut config);
        let app = Router::new().fallback(async || "glasshouse");
        let origins: Arc<dyn Origins> = Arc::<World>::clone(&world);
        let edge = Edge::new(config, origins, app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move { edge.serve(listener, stopped).await });
        Self {
            address,
            world,
            stop: Some(stop),
            served: Some(served),
        }
    }

    /// Serves a router as the app on a port.
    pub(crate) async fn app(&self, port: u16, router: Router) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.open(port, listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// An app that is written byte for byte: called with every connection in turn.
    pub(crate) async fn raw<F>(&self, port: u16, app: impl Fn(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.open(port, listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(app(stream));
            }
        });
    }

    /// An app that gives this answer to every connection, then hangs up.
    pub(crate) async fn canned(&self, port: u16, answer: &'static [u8]) {
        self.raw(port, async move |mut stream: TcpStream| {
            read_head(&mut stream).await;
            // The edge may hang up first; that is for its tests to judge.
            let _ = stream.write_all(answer).await;
        })
        .await;
    }

    pub(crate) fn open(&self, port: u16, address: SocketAddr) {
        self.world.ports.lock().unwrap().insert(port, address);
    }

    pub(crate) fn connects(&self) -> usize {
        *self.world.connects.borrow()
    }

    /// Waits until the edge has asked for this many connections in all.
    pub(crate) async fn connected(&self, count: usize) {
        let mut connects = self.world.connects.subscribe();
        let reached = connects.wait_for(|connects| *connects >= count);
        timeout(LONG, reached)
            .await
            .expect("the edge asked for fewer connections")
            .unwrap();
    }

    pub(crate) fn stop(&mut self) -> JoinHandle<Drained> {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.take().unwrap()
    }

    pub(crate) async fn http1(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        Client::Http1(sender)
    }

    pub(crate) async fn http2(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        Client::Http2(sender)
    }

    /// GET from the app on a port, over a fresh HTTP/1.1 connection.
    pub(crate) async fn get(&self, port: u16, path: &str) -> Answer {
        self.send(port, path, |request| request).await
    }

    pub(crate) async fn send(
        &self,
        port: u16,
        path: &str,
        change: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Answer {
        let request = change(Request::builder().uri(path).header("host", host(port)));
        let request = request.body(Body::empty()).unwrap();
        Answer::read(self.http1().await.send(request).await).await
    }

    /// Sends bytes and reads until the edge closes.
    pub(crate) async fn bytes(&self, sent: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut back = Vec::new();
        timeout(LONG, stream.read_to_end(&mut back))
            .await
            .expect("the edge never closed the connection")
            .unwrap();
        String::from_utf8_lossy(&back).into_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            served.abort();
        }
    }
}

pub(crate) fn host(port: u16) -> String {
    format!("{port}-{ID}.preview.localhost:8080")
}

pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Body>),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let sent = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        timeout(LONG, sent).await.expect("the edge gave no answer")
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        Self::try_read(response).await.unwrap()
    }

    pub(crate) async fn try_read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        let body = timeout(LONG, body.collect())
            .await
            .expect("the body never ended")?;
        let trailers = body.trailers().cloned();
        Ok(Self {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Reads a request up to the end of its head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}
