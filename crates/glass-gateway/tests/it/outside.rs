//! The way out as a program in the sandbox uses it, and a listener to reach.

use glass_gateway::{EgressConfig, GatewayConfig};
use glass_types::EgressPolicy;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::agent::Sandbox;

pub(crate) const GATEWAY_PORT: u16 = 4321;

/// A sandbox whose operator makes these exceptions.
pub(crate) fn sandbox(policy: EgressPolicy, allow: &[&str]) -> Sandbox {
    let egress = EgressConfig {
        allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        gateway_port: GATEWAY_PORT,
    };
    let config = GatewayConfig {
        egress,
        ..GatewayConfig::default()
    };
    Sandbox::start_with(config, None, policy)
}

/// A listener on loopback, and its address.
pub(crate) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Whoever came before this one would be accepted before it.
pub(crate) async fn nobody_came(listener: &TcpListener) {
    let port = listener.local_addr().unwrap().port();
    let probe = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.port(), probe.local_addr().unwrap().port());
}

/// What the proxy said, and the connection for what follows.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) line: String,
    pub(crate) headers: String,
    pub(crate) stream: BufReader<UnixStream>,
}

impl Answer {
    /// The body of a refusal.
    pub(crate) async fn problem(mut self) -> Value {
        assert!(
            self.headers.contains("application/problem+json"),
            "{}",
            self.headers
        );
        let length = self
            .headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.stream.read_exact(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

/// Writes `text` as it is and reads the head of the answer.
pub(crate) async fn say(sandbox: &Sandbox, text: &str) -> Answer {
    let mut stream = BufReader::new(sandbox.connect().await);
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") && headers != "\r\n" {
        assert_ne!(stream.read_line(&mut headers).await.unwrap(), 0, "{line}");
    }
    Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: headers.replace("\r\n", "\n"),
        line,
        stream,
    }
}

pub(crate) async fn connect(sandbox: &Sandbox, target: &str) -> Answer {
    say(
        sandbox,
        &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
    )
    .await
}
