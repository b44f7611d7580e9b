//! The gateway without any key on a TCP port, for trying the demo model by hand.
//!
//! `cargo run -p glass-gateway --example demo -- 18080`, then for instance
//! `ANTHROPIC_BASE_URL=http://127.0.0.1:18080 ANTHROPIC_API_KEY=x claude -p "create a todo app"`.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use glass_gateway::{Caller, Gateway, GatewayConfig, NoEgressSink, NoUsage, Tokens};
use glass_types::SandboxId;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

/// Every token is this sandbox's.
#[derive(Debug)]
struct Anybody(SandboxId);

#[async_trait]
impl Tokens for Anybody {
    async fn resolve(&self, _token: &str) -> anyhow::Result<Option<Caller>> {
        Ok(Some(Caller {
            sandbox: self.0.clone(),
        }))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = match std::env::args().nth(1) {
        Some(port) => port.parse().context("the argument is not a port")?,
        None => 18080,
    };
    let directory = std::env::temp_dir().join(format!("glass-gateway-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let socket = directory.join("gateway.sock");
    let sandbox = SandboxId::random();
    let gateway = Gateway::new(
        GatewayConfig::default(),
        Arc::new(Anybody(sandbox.clone())),
        Arc::new(NoUsage),
        Arc::new(NoEgressSink),
    )?;
    let unix = UnixListener::bind(&socket)?;
    let tcp = TcpListener::bind(("127.0.0.1", port)).await?;
    let relay = async {
        while let Ok((mut outside, _)) = tcp.accept().await {
            let mut inside = UnixStream::connect(&socket).await?;
            tokio::spawn(async move {
                // Either side may go away at any time; that ends the relay and nothing else.
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
        anyhow::Ok(())
    };
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let serve = gateway.serve(sandbox, Arc::default(), unix, async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });
    let outcome = tokio::select! {
        () = serve => Ok(()),
        outcome = relay => outcome,
    };
    std::fs::remove_dir_all(&directory)?;
    outcome
}
