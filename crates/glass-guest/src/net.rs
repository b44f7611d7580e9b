//! The way out for programs that know of no proxy.
//!
//! The kernel hands over their connections whatever the address, and their questions for names whatever the server. Each
//! connection becomes a `CONNECT` to the gateway, which judges it and connects; nothing is decided here.
//!
//! ```text
//! getaddrinfo("example.com") ─► dns: may the name be known? ─► names: 198.18.0.2 stands for it from now on
//! connect(198.18.0.2:443)    ─► transparent: CONNECT example.com:443 ─► gateway
//! connect(93.184.216.34:22)  ─► transparent: CONNECT 93.184.216.34:22 ─► gateway
//! ```
//!
//! Design notes. Names get addresses of our own because only then is it sure which name a connection is for: real
//! addresses are shared by many names and change, and a list of names could not be held to them. It also leaves the
//! choice among the real addresses, of either family, to the gateway, which alone knows which of them answers; a program
//! here would see every one of them accept. What an address stands for is kept as long as the sandbox runs.

mod datagram;
mod dns;
mod message;
mod names;
mod owner;
mod sockets;
mod transparent;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::startup::StartError;
use names::Names;
pub(crate) use sockets::Sockets;

/// Where the listener is bound that the kernel hands connections to.
pub(crate) const PORT: u16 = 49981;
pub(crate) const DNS_PORT: u16 = 53;
/// The head of an answer of the gateway is no longer.
const HEAD: usize = 8 * 1024;
/// How long a look for a process may take, with telling it.
const LOOK: Duration = Duration::from_secs(1);

/// What the parts share.
#[derive(Debug)]
pub(crate) struct Net {
    socket: PathBuf,
    names: Mutex<Names>,
}

impl Net {
    pub(crate) fn new(socket: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            socket,
            names: Mutex::default(),
        })
    }

    /// The gateway's.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The address that stands for a name.
    fn address_of(&self, name: &str) -> std::net::Ipv4Addr {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .address_of(name)
    }

    /// The name that an address stands for.
    fn name_of(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .name_of(address)
    }

    /// Tells the gateway whose connection it refused, if that can be found out in time.
    pub(crate) async fn tell_whose(&self, refusal: u64, client: SocketAddr, here: SocketAddr) {
        let tell = async {
            let process = owner::of(client, here).await?;
            let request = format!(
                "POST /glasshouse/egress/refusals/{refusal} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\
                 content-length: 0\r\nglasshouse-process: {process}\r\n\r\n"
            );
            let mut gateway = UnixStream::connect(&self.socket).await.ok()?;
            gateway.write_all(request.as_bytes()).await.ok()?;
            answer(&mut gateway).await
        };
        // The log is then without it.
        let _ = tokio::time::timeout(LOOK, tell).await;
    }
}

/// The status of the gateway's answer, its head, and what came after that.
struct Answer {
    status: u16,
    head: Vec<u8>,
    rest: Vec<u8>,
}

/// `None` when the gateway went away or said nonsense.
async fn answer(gateway: &mut UnixStream) -> Option<Answer> {
    let mut head = Vec::new();
    loop {
        let length = gateway.read_buf(&mut head).await.ok()?;
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
            return Some(Answer {
                status: std::str::from_utf8(status).ok()?.parse().ok()?,
                head,
                rest,
            });
        }
        if length == 0 || head.len() > HEAD {
            return None;
        }
    }
}

/// Serves what the launcher made; for ever nothing when it made nothing.
pub(crate) async fn serve(
    sockets: Option<Sockets>,
    net: Arc<Net>,
) -> Result<Infallible, StartError> {
    let Some(Sockets { tcp, udp, link }) = sockets else {
        return std::future::pending().await;
    };
    // The kernel hands over nothing any more when it is closed.
    let _link = link;
    let mut all = tokio::task::JoinSet::new();
    for listener in tcp {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        all.spawn(transparent::serve(listener, Arc::clone(&net)));
    }
    for socket in udp {
        let socket = datagram::Datagrams::new(socket)?;
        all.spawn(dns::serve_datagrams(socket, Arc::clone(&net)));
    }
    // Programs name it when an answer is too long for a datagram. The port may be taken; then they do without.
    if let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", DNS_PORT)).await {
        all.spawn(dns::serve_streams(listener, Arc::clone(&net)));
    }
    match all.join_next().await {
        Some(Ok(never)) => match never {},
        Some(Err(error)) => Err(StartError::step(
            "serve the way out",
            std::io::Error::other(error),
        )),
        None => std::future::pending().await,
    }
}
