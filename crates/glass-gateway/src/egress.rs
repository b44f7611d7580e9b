//! The way out: what lets the programs of a sandbox reach the internet, and nothing private.
//!
//! A sandbox has loopback only. Its programs use the gateway's address as their HTTP proxy, and this is that proxy:
//! `CONNECT host:port` makes a [`tunnel`], a request with an absolute URL is [`relay`]ed.
//!
//! ```text
//! CONNECT, GET http://… ─► target: host and port, in one notation
//!                          lookup: all addresses of the name, by the host's resolver
//!                          policy: every one of them public, or an exception of the operator's ─► else 403
//!                          dial:   one of the addresses that were judged; the name is not looked up again
//! ```
//!
//! Design notes. The name is looked up once: a second lookup could have another answer than the one that was judged.
//! One address that is refused refuses the whole name, for a name with a public and a private address is a trick or a
//! mistake. The socket says which sandbox asks, so programs need no credential, which they could not keep anyway.

mod address;
mod dial;
mod door;
mod idle;
mod lookup;
mod own;
mod pattern;
mod policy;
mod refusal;
mod relay;
mod target;
mod tunnel;

use std::sync::Arc;

use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::gateway::Inner;
use crate::handle;

pub(crate) use door::Door;
pub use pattern::{HostPattern, HostPatternError};
use refusal::Refusal;
use target::{Host, Target};

/// Lookups at the same time, of all sandboxes: each holds a thread of the pool that the whole server shares.
const LOOKUPS: usize = 64;

/// Whether sandboxes reach the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EgressMode {
    /// Public addresses, and the exceptions.
    #[default]
    Open,
    /// Nothing.
    None,
}

/// What the operator decides about the way out.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// Whether there is one.
    pub mode: EgressMode,
    /// What may be reached although it is not public.
    pub allow: Vec<HostPattern>,
    /// The port of 127.0.0.1 at which a sandbox sees the gateway. Requests that name it in full are for the gateway.
    pub gateway_port: u16,
}

/// The way out of all sandboxes.
pub(crate) struct Egress {
    config: EgressConfig,
    lookups: Arc<Semaphore>,
}

impl Egress {
    pub(crate) fn new(config: EgressConfig) -> Self {
        Self {
            config,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    pub(crate) fn mode(&self) -> EgressMode {
        self.config.mode
    }

    /// A connection to the target, if it may be reached.
    async fn open(&self, door: &Door, target: &Target) -> Result<TcpStream, Refusal> {
        if self.config.mode == EgressMode::None {
            return Err(Refusal::Closed);
        }
        let addresses = match target.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => lookup::addresses(&self.lookups, door, name).await?,
        };
        // Read anew each time, for a host's addresses come and go.
        let own = own::addresses()?;
        policy::judge(target, &addresses, &self.config.allow, &own)?;
        dial::dial(&addresses, target.port()).await
    }

    /// The gateway's own address, as the sandbox sees it.
    fn is_gateway(&self, uri: &Uri) -> bool {
        uri.scheme() == Some(&Scheme::HTTP)
            && uri.port_u16() == Some(self.config.gateway_port)
            && matches!(uri.host(), Some("127.0.0.1" | "localhost"))
    }
}

/// A request as it comes from the sandbox: for the gateway itself, or for somewhere else.
pub(crate) async fn handle(
    gateway: Arc<Inner>,
    door: Door,
    mut request: Request<Incoming>,
) -> Response<Body> {
    if request.method() == Method::CONNECT {
        return tunnel::tunnel(&gateway.egress, &door, request).await;
    }
    if request.uri().scheme().is_none() {
        return handle::handle(gateway, door.sandbox, request).await;
    }
    if gateway.egress.is_gateway(request.uri()) {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        return handle::handle(gateway, door.sandbox, request).await;
    }
    relay::relay(&gateway.egress, &door, request).await
}
