//! The few HTTP requests that `WebDriver` is made of. The driver is on this machine, so one connection each is cheap.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Wire {
    port: u16,
}

impl Wire {
    pub(super) fn new(port: u16) -> Self {
        Self { port }
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(Method::POST, path, body.to_string().into()).await
    }

    /// The `value` of the answer, or what the driver says went wrong.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .context("failed to reach chromedriver")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("content-type", "application/json")
            .header("connection", "close")
            .body(Full::new(body))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            Ok::<_, hyper::Error>(answer.into_body().collect().await?.to_bytes())
        };
        // The connection is driven here, so that nothing outlives the call.
        let (answer, _) = tokio::join!(exchange, connection);
        let mut answer: Value = serde_json::from_slice(&answer.context("chromedriver hung up")?)
            .context("chromedriver did not answer with JSON")?;
        let value = answer["value"].take();
        if let Some(error) = value["error"].as_str() {
            // The message ends with addresses of Chromium's own stack.
            let message = value["message"].as_str().unwrap_or_default();
            bail!("{error}: {}", message.lines().next().unwrap_or_default());
        }
        Ok(value)
    }
}
