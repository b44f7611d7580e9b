//! A small app, and the edge in front of it, to be measured against each other:
//!
//! ```sh
//! cargo run --release -p glass-edge --example proxy
//! wrk -c16 -t2 -d10 http://127.0.0.1:9001/
//! wrk -c16 -t2 -d10 -H 'Host: 3000-abcdefghijklmno1.preview.localhost' http://127.0.0.1:9002/
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use glass_edge::{
    Admission, Edge, EdgeConfig, EdgeCounters, Held, Origins, Progress, Stream, Unreachable,
};
use glass_types::SandboxId;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

const APP: &str = "127.0.0.1:9001";
const EDGE: &str = "127.0.0.1:9002";

struct Local;

#[async_trait]
impl Origins for Local {
    fn admit(&self, _: &SandboxId, _: u16, _: &[&str]) -> Result<Admission, Unreachable> {
        Ok(Admission::Public)
    }

    async fn enter(&self, _: &SandboxId) -> Result<Box<dyn Held>, Unreachable> {
        Ok(Box::new(()))
    }

    fn progress(&self, _: &SandboxId) -> BoxStream<'static, Progress> {
        futures::stream::empty().boxed()
    }

    async fn connect(&self, _: &SandboxId, _: u16) -> Result<Box<dyn Stream>, Unreachable> {
        let failed = |error: std::io::Error| Unreachable::Failed(error.to_string());
        let stream = TcpStream::connect(APP).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Box::new(stream))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = TcpListener::bind(APP).await?;
    let edge = TcpListener::bind(EDGE).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = app.accept().await {
            let hello = service_fn(async |_| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), hello),
            );
        }
    });
    let config = EdgeConfig::new("preview.localhost", 9002);
    let edge_service = Edge::new(
        config,
        Arc::new(Local),
        EdgeCounters::default(),
        Router::new(),
    );
    edge_service.serve(edge, std::future::pending::<()>()).await;
    Ok(())
}
