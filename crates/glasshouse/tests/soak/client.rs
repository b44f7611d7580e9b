//! The API as one who knows that the server is killed now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::socket::{Opened, Socket};

/// How long anything may take until it is done, whatever is killed meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A connection pool, an address and a token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    port: u16,
    token: String,
    /// Whether the server is always there.
    is_strict: bool,
    /// How often it was told to come back.
    later: Arc<AtomicU64>,
}

/// An answer that is meant, and not one that says to come back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(crate) fn new(port: u16, token: String) -> anyhow::Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self {
            http,
            port,
            token,
            is_strict: false,
            later: Arc::default(),
        })
    }

    /// Takes nothing for granted but an answer, or 503 and when to come back.
    pub(crate) fn strict(self) -> Self {
        Self {
            is_strict: true,
            ..self
        }
    }

    pub(crate) fn count_later(&self) {
        self.later.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was told to come back.
    pub(crate) fn told_later(&self) -> u64 {
        self.later.load(Ordering::Relaxed)
    }

    /// Sends a request until the answer is one that is meant: a server that is away, or that says 503 and when to come
    /// back, is asked again. Everything that is sent here may be repeated.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        bytes: Option<&[u8]>,
    ) -> anyhow::Result<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        self.insist(|| {
            let request = self
                .http
                .request(method.clone(), &url)
                .bearer_auth(&self.token);
            match bytes {
                Some(bytes) => request.body(bytes.to_vec()),
                None => request,
            }
        })
        .await
        .with_context(|| format!("{method} {path}"))
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn put(&self, path: &str, bytes: &[u8]) -> anyhow::Result<Answer> {
        self.send(Method::PUT, path, Some(bytes)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        self.insist(|| {
            self.http
                .request(method.clone(), &url)
                .bearer_auth(&self.token)
                .json(body)
        })
        .await
        .with_context(|| format!("{method} {path} {body}"))
    }

    /// A WebSocket of the API.
    pub(crate) async fn socket(&self, path: &str) -> anyhow::Result<Opened> {
        let host = format!("127.0.0.1:{}", self.port);
        Socket::open(self.port, &host, path, Some(&self.token)).await
    }

    /// A preview's page, as a program asks for it.
    pub(crate) async fn preview(&self, sandbox: &str, path: &str) -> anyhow::Result<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let host = self.host_of(sandbox);
        self.insist(|| self.http.get(&url).header("host", &host))
            .await
            .with_context(|| format!("preview of {sandbox}"))
    }

    /// What an app says to bytes that are posted to it. It is asked again only when it was not reached.
    pub(crate) async fn post_preview(&self, sandbox: &str, bytes: &[u8]) -> anyhow::Result<Answer> {
        let url = format!("http://127.0.0.1:{}/", self.port);
        let host = self.host_of(sandbox);
        self.insist(|| {
            let request = self.http.post(&url).header("host", &host);
            request.body(bytes.to_vec())
        })
        .await
        .with_context(|| format!("post to {sandbox}"))
    }

    /// A WebSocket of an app.
    pub(crate) async fn preview_socket(&self, sandbox: &str) -> anyhow::Result<Opened> {
        Socket::open(self.port, &self.host_of(sandbox), "/", None).await
    }

    fn host_of(&self, sandbox: &str) -> String {
        format!("3000-{sandbox}.preview.localhost:{}", self.port)
    }

    async fn insist(
        &self,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> anyhow::Result<Answer> {
        let since = Instant::now();
        loop {
            let last = match request().send().await {
                Ok(answer) => {
                    let (status, headers) = (answer.status(), answer.headers().clone());
                    match answer.bytes().await {
                        Ok(body) if status == StatusCode::SERVICE_UNAVAILABLE => {
                            let text = String::from_utf8_lossy(&body).into_owned();
                            if !headers.contains_key("retry-after") {
                                bail!("503 without Retry-After: {text}");
                            }
                            self.count_later();
                            text
                        }
                        // Its app was killed a moment ago, or is only starting.
                        Ok(body)
                            if !self.is_strict
                                && status == StatusCode::BAD_GATEWAY
                                && ["port_closed", "bad_gateway"]
                                    .iter()
                                    .any(|code| String::from_utf8_lossy(&body).contains(code)) =>
                        {
                            String::from_utf8_lossy(&body).into_owned()
                        }
                        Ok(body) => {
                            return Ok(Answer {
                                status,
                                body: body.to_vec(),
                            });
                        }
                        Err(error) if self.is_strict => return Err(error.into()),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) if self.is_strict => return Err(error.into()),
                Err(error) if error.is_timeout() => bail!("no answer within a minute: {error}"),
                Err(error) => error.to_string(),
            };
            if since.elapsed() > PATIENCE {
                bail!("not done after {PATIENCE:?}; the last answer: {last}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
