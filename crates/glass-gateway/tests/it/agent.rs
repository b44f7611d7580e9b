//! A gateway on a socket, and an agent that talks to it.

use std::sync::{Arc, Mutex, Once};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use glass_gateway::{
    Caller, EgressControl, EgressRefusal, EgressSink, Gateway, GatewayConfig, NoUsage, Tokens,
    Upstream, UsageSink,
};
use glass_types::{EgressPolicy, SandboxId};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const TOKEN: &str = "token-of-this-sandbox";
pub(crate) const OTHER: &str = "token-of-another-sandbox";
pub(crate) const KEY: &str = "sk-the-real-key";

struct Known {
    this: SandboxId,
    other: SandboxId,
}

#[async_trait]
impl Tokens for Known {
    async fn resolve(&self, token: &str) -> anyhow::Result<Option<Caller>> {
        let sandbox = match token {
            TOKEN => &self.this,
            OTHER => &self.other,
            "broken" => anyhow::bail!("the disk is gone"),
            _ => return Ok(None),
        };
        Ok(Some(Caller {
            sandbox: sandbox.clone(),
        }))
    }
}

/// What was refused.
#[derive(Default)]
pub(crate) struct Refused(Mutex<Vec<EgressRefusal>>);

impl EgressSink for Refused {
    fn refused(&self, refusal: EgressRefusal) {
        self.0.lock().unwrap().push(refusal);
    }
}

pub(crate) struct Sandbox {
    pub(crate) egress: Arc<EgressControl>,
    refused: Arc<Refused>,
    directory: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl Sandbox {
    /// Without any provider.
    pub(crate) fn demo() -> Self {
        Self::start(GatewayConfig::default(), None)
    }

    /// With both providers at one address.
    pub(crate) fn with(url: &str) -> Self {
        Self::start(config(url), None)
    }

    pub(crate) fn start(config: GatewayConfig, usage: Option<Arc<dyn UsageSink>>) -> Self {
        Self::start_with(config, usage, EgressPolicy::Open)
    }

    /// What was refused so far.
    pub(crate) fn refused(&self) -> Vec<EgressRefusal> {
        self.refused.0.lock().unwrap().clone()
    }

    pub(crate) fn start_with(
        config: GatewayConfig,
        usage: Option<Arc<dyn UsageSink>>,
        policy: EgressPolicy,
    ) -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            rustls::crypto::ring::default_provider()
                .install_default()
                .unwrap();
        });
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("gateway.sock")).unwrap();
        let sandbox = SandboxId::random();
        let tokens = Known {
            this: sandbox.clone(),
            other: SandboxId::random(),
        };
        let usage = usage.unwrap_or_else(|| Arc::new(NoUsage));
        let refused = Arc::new(Refused::default());
        let gateway = Gateway::new(config, Arc::new(tokens), usage, refused.clone()).unwrap();
        let egress = Arc::new(EgressControl::new(policy, 0));
        let control = egress.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            gateway
                .serve(sandbox, control, listener, stopped.map(drop))
                .await;
        });
        Self {
            egress,
            refused,
            directory,
            stop: Some(stop),
            server: Some(server),
        }
    }

    /// A connection to the gateway.
    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.directory.path().join("gateway.sock"))
            .await
            .unwrap()
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        let stream = self.connect().await;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    }

    /// Status, headers and the body as text.
    pub(crate) async fn ask(&self, request: Request<Body>) -> (http::response::Parts, String) {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The server's task, told to stop.
    pub(crate) fn stop(&mut self) -> JoinHandle<()> {
        self.stop.take().unwrap().send(()).unwrap();
        self.server.take().unwrap()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }
}

pub(crate) fn config(url: &str) -> GatewayConfig {
    let upstream = Some(Upstream {
        base_url: url.to_owned(),
        key: KEY.to_owned(),
    });
    GatewayConfig {
        anthropic: upstream.clone(),
        openai: upstream,
        ..GatewayConfig::default()
    }
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// As Claude Code asks.
pub(crate) fn messages(body: impl Into<Bytes>) -> Request<Body> {
    Request::post("/v1/messages?beta=true")
        .header("host", "127.0.0.1:1234")
        .header("x-api-key", TOKEN)
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "one,two")
        .header("content-type", "application/json")
        .body(full(body))
        .unwrap()
}

/// As the SDK of OpenAI asks.
pub(crate) fn openai(path: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("host", "127.0.0.1:1234")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(full(body.to_string()))
        .unwrap()
}
