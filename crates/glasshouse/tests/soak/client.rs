//! The API as one who knows that the server is killed now and then.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

/// How long anything may take until it is done, whatever is killed meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// A connection pool, an address and a token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    port: u16,
    token: String,
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
        Ok(Self { http, port, token })
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

    /// A preview's page, as a program asks for it.
    pub(crate) async fn preview(&self, sandbox: &str, path: &str) -> anyhow::Result<Answer> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let host = format!("3000-{sandbox}.preview.localhost:{}", self.port);
        self.insist(|| self.http.get(&url).header("host", &host))
            .await
            .with_context(|| format!("preview of {sandbox}"))
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
                            text
                        }
                        // Its app was killed a moment ago, or is only starting.
                        Ok(body)
                            if status == StatusCode::BAD_GATEWAY
                                && String::from_utf8_lossy(&body).contains("port_closed") =>
                        {
                            String::from_utf8_lossy(&body).into_owned()
                        }
                        Ok(body) => {
                            return Ok(Answer {
                                status,
                                body: body.to_vec(),
                            });
                        }
                        Err(error) => error.to_string(),
                    }
                }
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
