//! A model provider that writes down every request and refuses it, or hands it on to a scripted answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// `POST /v1/messages?beta=true`
    pub line: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An upstream on loopback. Stops when it is dropped.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    status: StatusCode,
    answer: String,
}

impl Recorder {
    /// Starts one that gives every request the same answer.
    ///
    /// # Errors
    /// When it cannot listen on loopback.
    pub async fn start(status: u16, answer: serde_json::Value) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let status = StatusCode::from_u16(status)?;
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            status,
            answer: answer.to_string(),
        });
        let app = Router::new()
            .fallback(record)
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Ends with the task; an error here shows as refused connections in the test.
            drop(axum::serve(listener, app).await);
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let recorded = Recorded {
        line: format!("{method} {uri}"),
        headers,
        body,
    };
    shared
        .requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(recorded);
    (
        shared.status,
        [(header::CONTENT_TYPE, "application/json")],
        shared.answer.clone(),
    )
        .into_response()
}
