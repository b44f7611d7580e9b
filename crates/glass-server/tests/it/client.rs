//! An HTTP client that reads problems and events.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::world::within;

pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Value,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: Option<String>) -> Self {
        // A second installation of the same provider is refused, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(120))
            .build()
            .unwrap();
        Self {
            http,
            base: format!("http://{address}"),
            token,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// `POST` without a body.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        send(self.request(Method::POST, path)).await
    }

    pub(crate) async fn put(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::PUT, path).body(body)).await
    }

    pub(crate) async fn put_json(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    /// A new sandbox's id.
    pub(crate) async fn sandbox(&self) -> String {
        let answer = self.post("/v1/sandboxes", json!({})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json["state"], "running", "{answer:?}");
        answer.json["id"].as_str().unwrap().to_owned()
    }

    /// Runs a shell command and answers what it came to.
    pub(crate) async fn exec(&self, sandbox: &str, command: &str) -> Value {
        let path = format!("/v1/sandboxes/{sandbox}/exec");
        let answer = self.post(&path, json!({ "command": command })).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    }

    /// Gives a task to the scripted agent and answers its id.
    pub(crate) async fn task(&self, sandbox: &str, prompt: &str) -> String {
        let path = format!("/v1/sandboxes/{sandbox}/tasks");
        let body = json!({ "prompt": prompt, "agent": "scripted" });
        let answer = self.post(&path, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json["id"].as_str().unwrap().to_owned()
    }

    /// A task when it has ended.
    pub(crate) async fn ended(&self, task: &str) -> Value {
        self.events(task, None).await.rest().await;
        self.get(&format!("/v1/tasks/{task}")).await.json
    }

    /// The events of a task after a number.
    pub(crate) async fn events(&self, task: &str, after: Option<u64>) -> Events {
        let mut request = self.request(Method::GET, &format!("/v1/tasks/{task}/events"));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        Events::open(request).await
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let bytes = answer.bytes().await.unwrap().to_vec();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer {
        status,
        headers,
        bytes,
        json,
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(2000)]);
        write!(f, "{} {:?} {text}", self.status, self.headers)
    }
}

impl Answer {
    /// Checks that this is a problem with this status and code, whole and well-formed.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.json["code"], code, "{self:?}");
        assert_eq!(self.json["status"], status, "{self:?}");
        assert_eq!(self.json["type"], format!("/errors/{code}"), "{self:?}");
        for field in ["title", "detail"] {
            let text = self.json[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {field}: {self:?}");
        }
        self
    }

    /// Checks that the problem says this and a remedy.
    pub(crate) fn says(&self, words: &str) -> &Self {
        let detail = self.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(words), "{words:?} is not in {detail:?}");
        self
    }

    /// Checks that the problem comes with advice that has these words.
    pub(crate) fn advises(&self, words: &str) -> &Self {
        let remedy = self.json["remedy"].as_str().unwrap_or_default();
        assert!(remedy.contains(words), "{words:?} is not in {self:?}");
        self
    }
}

/// A stream of server-sent events.
pub(crate) struct Events {
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SentEvent {
    pub(crate) id: Option<u64>,
    pub(crate) event: Option<String>,
    pub(crate) data: Value,
}

impl Events {
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            bytes: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    /// The next event; `None` when the server has ended the stream.
    pub(crate) async fn next(&mut self) -> Option<SentEvent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
                };
                // A comment keeps the connection open and says nothing.
                if let Some(data) = field("data") {
                    return Some(SentEvent {
                        id: field("id").map(|id| id.parse().unwrap()),
                        event: field("event").map(str::to_owned),
                        data: serde_json::from_str(data).unwrap(),
                    });
                }
            }
            let more = within(60, "an event", self.bytes.next()).await?;
            // A server that stops may cut it; what has come is all the same.
            self.text
                .push_str(std::str::from_utf8(&more.ok()?).unwrap());
        }
    }

    /// Reads on to an event with these words in it.
    pub(crate) async fn until(&mut self, words: &str) -> SentEvent {
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("the stream ended before {words:?}"));
            if event.data.to_string().contains(words) {
                return event;
            }
        }
    }

    /// All events to the end of the stream.
    pub(crate) async fn rest(mut self) -> Vec<SentEvent> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}
