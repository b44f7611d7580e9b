//! The gateway itself: what it was configured with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::egress::{Egress, EgressCounts, EgressSink};
use crate::usage::UsageSink;
use crate::{DEMO_MODEL, GatewayConfig, Protocol, Tokens, Upstream};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the agents of sandboxes. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: GatewayConfig,
    pub(crate) tokens: Arc<dyn Tokens>,
    pub(crate) usage: Arc<dyn UsageSink>,
    /// `None` when there is no provider to talk to.
    pub(crate) client: Option<reqwest::Client>,
    pub(crate) egress: Egress,
}

/// Who answers a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderView {
    /// Whose protocol.
    pub protocol: Protocol,
    /// No credential is configured: the demo model answers.
    pub demo: bool,
}

/// A model that can be asked for by name whatever the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    /// What to put into a request.
    pub id: &'static str,
    /// For people.
    pub name: &'static str,
    /// It is the demo model, and must be called that wherever it shows.
    pub demo: bool,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A base URL is not one.
    #[error(
        "the base URL of {protocol}, {url:?}, is not usable: give one like https://api.example.com"
    )]
    BaseUrl {
        /// `anthropic` or `openai`.
        protocol: &'static str,
        /// What was configured.
        url: String,
    },
    /// A key cannot be sent in a header.
    #[error("the key of {protocol} holds characters that cannot be sent: copy it again")]
    Key {
        /// `anthropic` or `openai`.
        protocol: &'static str,
    },
    /// The HTTPS client could not be set up, for instance because the host has no CA certificates.
    #[error("set up the HTTPS client (are CA certificates installed?)")]
    Client(#[source] reqwest::Error),
}

impl Gateway {
    /// A gateway for all sandboxes, which tells `usage` what every answer used, and `egress` of everything that was not
    /// let out. With a provider configured, the program must have installed a rustls crypto provider before.
    pub fn new(
        config: GatewayConfig,
        tokens: Arc<dyn Tokens>,
        usage: Arc<dyn UsageSink>,
        egress: Arc<dyn EgressSink>,
    ) -> Result<Self, GatewayError> {
        for protocol in [Protocol::Anthropic, Protocol::OpenAi] {
            if let Some(upstream) = upstream_of(&config, protocol) {
                check(protocol, upstream)?;
            }
        }
        let client = if config.anthropic.is_some() || config.openai.is_some() {
            Some(client().map_err(GatewayError::Client)?)
        } else {
            None
        };
        Ok(Self {
            inner: Arc::new(Inner {
                egress: Egress::new(config.egress.clone(), egress),
                config,
                tokens,
                usage,
                client,
            }),
        })
    }

    /// What passed to and from the outside of all sandboxes, and how often something was refused.
    #[must_use]
    pub fn egress_counts(&self) -> EgressCounts {
        self.inner.egress.counts()
    }

    /// Who answers each protocol.
    pub fn providers(&self) -> Vec<ProviderView> {
        [Protocol::Anthropic, Protocol::OpenAi]
            .into_iter()
            .map(|protocol| ProviderView {
                protocol,
                demo: self.inner.upstream(protocol).is_none(),
            })
            .collect()
    }

    /// The models that the gateway itself knows by name. Those of a provider are the provider's to list.
    pub fn models(&self) -> Vec<ModelView> {
        vec![ModelView {
            id: DEMO_MODEL,
            name: "Demo model",
            demo: true,
        }]
    }
}

impl Inner {
    pub(crate) fn upstream(&self, protocol: Protocol) -> Option<&Upstream> {
        upstream_of(&self.config, protocol)
    }
}

fn upstream_of(config: &GatewayConfig, protocol: Protocol) -> Option<&Upstream> {
    match protocol {
        Protocol::Anthropic => config.anthropic.as_ref(),
        Protocol::OpenAi => config.openai.as_ref(),
    }
}

fn check(protocol: Protocol, upstream: &Upstream) -> Result<(), GatewayError> {
    let protocol = protocol.name();
    let usable = reqwest::Url::parse(upstream.root())
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !usable {
        return Err(GatewayError::BaseUrl {
            protocol,
            url: upstream.base_url.clone(),
        });
    }
    if upstream.key.is_empty() || http::HeaderValue::from_str(&upstream.key).is_err() {
        return Err(GatewayError::Key { protocol });
    }
    Ok(())
}

/// Passes everything on as it is: no redirects followed, nothing decompressed, no limit on how long an answer takes.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .build()
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
