//! The way out: what lets the programs of a sandbox reach the internet, and nothing private.
//!
//! A sandbox has loopback only. Its programs use the gateway's address as their HTTP proxy, and this is that proxy:
//! `CONNECT host:port` makes a [`tunnel`], a request with an absolute URL is [`relay`]ed.
//!
//! ```text
//! CONNECT, GET http://… ─► target:  host and port, in one notation
//!                          permit:  does the sandbox's own policy let it?                                ─► else 403
//!                          lookup:  all addresses of the name, by the host's resolver
//!                          policy:  every one of them public, or an exception of the operator's           ─► else 403
//!                          dial:    one of the addresses that were judged; the name is not looked up again
//!                          inspect: with a list of hosts, does the connection ask for the host it was opened for?
//!                          requests: and, in plain HTTP, each of its requests?                              ─► else 403
//! ```
//!
//! For programs that know of no proxy the guest does the same: it takes their connections whatever the address, and asks
//! for each with `CONNECT`. It gives names addresses of its own, so it knows which name is meant; here it is one more
//! client that nobody trusts. What it answers to questions for names it asks [`question`].
//!
//! Design notes. The name is looked up once: a second lookup could have another answer than the one that was judged.
//! One address that is refused refuses the whole name, for a name with a public and a private address is a trick or a
//! mistake. The socket says which sandbox asks, so programs need no credential, which they could not keep anyway.

mod address;
mod bucket;
mod control;
mod dial;
mod door;
mod idle;
mod inspect;
mod lookup;
mod own;
mod pattern;
mod permit;
mod policy;
mod question;
mod refusal;
mod relay;
mod report;
mod requests;
mod shaped;
mod target;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Scheme;
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use glass_types::{Host, SandboxId};

use crate::body::Body;
use crate::gateway::Inner;
use crate::handle;

use control::Counters;
pub use control::{EgressControl, EgressCounts};
pub(crate) use door::{Door, Doorkeeper};
pub use pattern::{HostPattern, HostPatternError};
use permit::Permit;
use refusal::Refusal;
pub use report::{EgressRefusal, EgressSink, NoEgressSink};
use target::Target;

/// Lookups at the same time, of all sandboxes: each holds a thread of the pool that the whole server shares.
const LOOKUPS: usize = 64;

/// What the operator decides about the way out.
#[derive(Debug, Clone, Default)]
pub struct EgressConfig {
    /// What may be reached although it is not public.
    pub allow: Vec<HostPattern>,
    /// The port of 127.0.0.1 at which a sandbox sees the gateway. Requests that name it in full are for the gateway.
    pub gateway_port: u16,
}

/// The way out of all sandboxes.
pub(crate) struct Egress {
    config: EgressConfig,
    lookups: Arc<Semaphore>,
    totals: Arc<Counters>,
    sink: Arc<dyn EgressSink>,
}

impl Egress {
    pub(crate) fn new(config: EgressConfig, sink: Arc<dyn EgressSink>) -> Self {
        Self {
            config,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            totals: Arc::default(),
            sink,
        }
    }

    /// What all sandboxes used so far.
    pub(crate) fn counts(&self) -> EgressCounts {
        self.totals.read()
    }

    /// The way out of one sandbox.
    pub(crate) fn door(
        &self,
        sandbox: SandboxId,
        control: Arc<EgressControl>,
    ) -> (Door, Doorkeeper) {
        Door::open(sandbox, control, self.totals.clone(), self.sink.clone())
    }

    /// A connection to the target, if it may be reached, and how long it may.
    async fn open(&self, door: &Door, target: &Target) -> Result<(TcpStream, Permit), Refusal> {
        // Before the lookup, which says outside what is asked for, and before any change that might come meanwhile.
        let permit = Permit::ask(&door.control, target)?;
        let addresses = self.addresses(door, target).await?;
        Ok((dial::dial(&addresses, target.port()).await?, permit))
    }

    /// Whether a name has addresses, whose ports are not known yet. An exception for one of them is one for the name.
    async fn exists(&self, door: &Door, target: &Target) -> Result<(), Refusal> {
        let addresses = self.resolved(door, target).await?;
        let own = own::addresses()?;
        policy::judge_any_port(target, &addresses, &self.config.allow, &own)?;
        Ok(())
    }

    async fn resolved(&self, door: &Door, target: &Target) -> Result<Vec<IpAddr>, Refusal> {
        match target.host() {
            Host::Address(address) => Ok(vec![*address]),
            Host::Name(name) => lookup::addresses(&self.lookups, door, name).await,
        }
    }

    /// The addresses of the target, none of which is refused.
    async fn addresses(&self, door: &Door, target: &Target) -> Result<Vec<IpAddr>, Refusal> {
        let addresses = self.resolved(door, target).await?;
        // Read anew each time, for a host's addresses come and go.
        let own = own::addresses()?;
        policy::judge(target, &addresses, &self.config.allow, &own)?;
        Ok(addresses)
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
    if request.uri().path().starts_with(question::PATH) && request.uri().scheme().is_none() {
        return question::answer(&gateway.egress, &door, &request).await;
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
