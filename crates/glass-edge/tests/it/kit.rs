//! An edge, apps behind it, and clients in front of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use glass_edge::{
    Admission, Denied, Drained, Edge, EdgeConfig, EdgeCounters, Held, Origins, Problem, Progress,
    Stream, Unreachable,
};
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
use tokio_stream::wrappers::WatchStream;

pub(crate) const ID: &str = "abcdefghijklmno1";
pub(crate) const PASS: &str = "a-good-pass";
pub(crate) const STOPPED: &str = "stopped000000000";
/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Ports of the one sandbox, where they are in truth, and how the sandbox is.
pub(crate) struct World {
    ports: Mutex<HashMap<u16, SocketAddr>>,
    connects: watch::Sender<usize>,
    rest: watch::Sender<Rest>,
    progress: watch::Sender<Option<Progress>>,
    uses: watch::Sender<usize>,
    entered: watch::Sender<usize>,
    /// What a closed port says instead.
    app: Mutex<Option<Unreachable>>,
    is_private: AtomicBool,
    flash: AtomicBool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            ports: Mutex::default(),
            connects: watch::Sender::default(),
            rest: watch::Sender::new(Rest::Awake),
            progress: watch::Sender::default(),
            uses: watch::Sender::default(),
            entered: watch::Sender::default(),
            app: Mutex::default(),
            is_private: AtomicBool::new(false),
            flash: AtomicBool::new(false),
        }
    }
}

/// Whether the sandbox wakes when somebody comes.
#[derive(Debug, Clone)]
pub(crate) enum Rest {
    Awake,
    Asleep,
    Refused(Problem),
}

struct Use(Arc<World>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.uses.send_modify(|uses| *uses -= 1);
    }
}

/// What the edge knows of a world.
struct Ways(Arc<World>);

#[async_trait]
impl Origins for Ways {
    fn admit(&self, _: &SandboxId, _: u16, passes: &[&str]) -> Result<Admission, Unreachable> {
        if !self.0.is_private.load(Ordering::Relaxed) {
            return Ok(Admission::Public);
        }
        let index = passes.iter().position(|pass| *pass == PASS);
        let denied = if passes.is_empty() {
            Denied::NoPass
        } else {
            Denied::Expired
        };
        let expires_in = Duration::from_secs(60);
        index
            .map(|index| Admission::Pass { index, expires_in })
            .ok_or(Unreachable::Denied(denied))
    }

    async fn enter(&self, sandbox: &SandboxId) -> Result<Box<dyn Held>, Unreachable> {
        if sandbox.as_str() == STOPPED {
            return Err(Unreachable::NotRunning {
                sandbox: sandbox.clone(),
                state: "stopped".to_owned(),
            });
        }
        if sandbox.as_str() != ID {
            return Err(Unreachable::UnknownSandbox(sandbox.to_string()));
        }
        let world = &self.0;
        world.uses.send_modify(|uses| *uses += 1);
        let held = Use(Arc::clone(world));
        world.entered.send_modify(|entered| *entered += 1);
        let mut rest = world.rest.subscribe();
        let woken = rest.wait_for(|rest| !matches!(rest, Rest::Asleep)).await;
        match woken.map(|rest| rest.clone()) {
            Ok(Rest::Refused(problem)) => Err(Unreachable::Refused(problem)),
            _ => Ok(Box::new(held)),
        }
    }

    fn progress(&self, _: &SandboxId) -> BoxStream<'static, Progress> {
        let steps = WatchStream::new(self.0.progress.subscribe());
        steps.filter_map(async |step| step).boxed()
    }

    async fn connect(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<Box<dyn Stream>, Unreachable> {
        self.0.connect(sandbox, port).await
    }
}

impl World {
    async fn connect(
        &self,
        sandbox: &SandboxId,
        port: u16,
    ) -> Result<Box<dyn Stream>, Unreachable> {
        self.connects.send_modify(|count| *count += 1);
        if self.flash.swap(false, Ordering::Relaxed) {
            return Ok(Box::new(tokio::io::duplex(1).0));
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
        let closed = || {
            let app = self.app.lock().unwrap().clone();
            app.unwrap_or_else(|| Unreachable::PortClosed {
                sandbox: sandbox.clone(),
                port,
                open,
            })
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
    pub(crate) counters: EdgeCounters,
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
        let origins = Arc::new(Ways(Arc::clone(&world)));
        let counters = EdgeCounters::default();
        let edge = Edge::new(config, origins, counters.clone(), app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move { edge.serve(listener, stopped).await });
        Self {
            address,
            counters,
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

    /// How the sandbox is from now on.
    pub(crate) fn rest(&self, rest: Rest) {
        self.world.rest.send_replace(rest);
    }

    /// How far its wake is.
    pub(crate) fn progress(&self, text: &str, percent: Option<u8>) {
        let text = text.to_owned();
        self.world
            .progress
            .send_replace(Some(Progress { text, percent }));
    }

    /// What closed ports say from now on.
    pub(crate) fn app_is(&self, app: Option<Unreachable>) {
        *self.world.app.lock().unwrap() = app;
    }

    /// The next connection is taken, and dropped.
    pub(crate) fn flash(&self) {
        self.world.flash.store(true, Ordering::Relaxed);
    }

    /// From now on visitors need [`PASS`].
    pub(crate) fn make_private(&self) {
        self.world.is_private.store(true, Ordering::Relaxed);
    }

    /// How often the sandbox was entered.
    pub(crate) fn entered(&self) -> usize {
        *self.world.entered.borrow()
    }

    /// Waits until the sandbox was entered so often.
    pub(crate) async fn has_entered(&self, count: usize) {
        let mut entered = self.world.entered.subscribe();
        let reached = entered.wait_for(|entered| *entered >= count);
        timeout(LONG, reached)
            .await
            .expect("nobody entered")
            .unwrap();
    }

    /// How many uses there are now.
    pub(crate) fn uses(&self) -> usize {
        *self.world.uses.borrow()
    }

    /// Waits until there are so many uses.
    pub(crate) async fn used_by(&self, count: usize) {
        let mut uses = self.world.uses.subscribe();
        let reached = uses.wait_for(|uses| *uses == count);
        timeout(LONG, reached)
            .await
            .unwrap_or_else(|_| panic!("there are {} uses, not {count}", self.uses()))
            .unwrap();
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
