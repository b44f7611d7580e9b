//! A provider that records what it is asked and answers by script.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Pieces of an answer's body; an error cuts the connection.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, std::io::Error>>;
type Script = dyn Fn() -> Response<Pieces> + Send + Sync;

pub(crate) struct Provider {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<(Parts, Vec<u8>)>>>,
    server: AbortHandle,
}

impl Provider {
    /// Answers every request as `script` says.
    pub(crate) async fn start(
        script: impl Fn() -> Response<Pieces> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let log = seen.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (log.clone(), script.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (log, script) = (log.clone(), script.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        if let Ok(body) = body.collect().await {
                            log.lock().unwrap().push((head, body.to_bytes().to_vec()));
                        }
                        let answer = script();
                        Ok::<_, Infallible>(answer.map(|pieces| {
                            StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))
                        }))
                    }
                });
                tokio::spawn(async move {
                    // A cut answer is an error here, as it should be.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            url,
            seen,
            server: server.abort_handle(),
        }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<(Parts, Vec<u8>)> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A 200 with these pieces.
pub(crate) fn pieces(kind: &str, pieces: Vec<Result<Bytes, std::io::Error>>) -> Response<Pieces> {
    Response::builder()
        .header("content-type", kind)
        .body(stream::iter(pieces).boxed())
        .unwrap()
}

pub(crate) fn json(status: u16, body: &'static str) -> Response<Pieces> {
    let mut response = pieces("application/json", vec![Ok(body.into())]);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}
