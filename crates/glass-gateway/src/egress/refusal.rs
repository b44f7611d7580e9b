//! Why there is no connection, as an answer and in the log.

use std::io;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::json;

use glass_types::HostError;

use super::door::{CONNECTIONS, Door};
use super::inspect::Wrong;
use super::policy::Denied;
use super::report::REFUSAL;
use super::target::{Target, TargetError};
use crate::body::{Body, json};

/// How much of what was asked is repeated when it is no target.
const SHOWN: usize = 128;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this sandbox may reach nothing outside")]
    Closed,
    #[error("no rule of this sandbox permits it")]
    NotListed,
    #[error("{0}")]
    Words(Wrong),
    #[error("it is not a host that can be asked for: {0}")]
    Target(TargetError),
    #[error("only http:// URLs are fetched here")]
    Scheme,
    #[error("{} cannot be reached: it is {}", .0.address, .0.kind.meaning())]
    Denied(Denied),
    #[error("this sandbox has {CONNECTIONS} connections to the outside already")]
    TooMany,
    #[error("the name cannot be resolved")]
    Unresolved(#[source] io::Error),
    #[error("the name was not resolved in time")]
    LookupTimeout,
    #[error("it cannot be connected to")]
    Unreachable(#[source] io::Error),
    #[error("it did not accept the connection in time")]
    ConnectTimeout,
    #[error("it did not answer as an HTTP server does")]
    Answer(#[source] hyper::Error),
    #[error("the addresses of the host cannot be read")]
    OwnAddresses(#[source] io::Error),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoServerName => f.write_str("its TLS names no host, so no rule can permit it"),
            Self::ServerName(name) => write!(f, "its TLS is for {name}"),
            Self::NotTls => f.write_str("it begins like TLS and is none"),
            Self::NoHost => f.write_str("its HTTP names no host, or several"),
            Self::Host(host) => write!(f, "its HTTP is for {host}"),
            Self::Connect => {
                f.write_str("its HTTP asks for a tunnel, in which nothing can be judged")
            }
            Self::Http2 => f.write_str("it is HTTP/2 without TLS, which cannot be judged"),
            Self::NotHttp => f.write_str("it begins like HTTP and is none"),
            Self::TooLong => f.write_str("what it says first has no end"),
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl Refusal {
    /// Says so to the program and to the log.
    pub(crate) fn answer(&self, door: &Door, target: &Target) -> Response<Body> {
        self.respond(door, &target.host().to_string(), Some(target.port()), true)
    }

    /// To a request in a tunnel, whose answers the guest does not read.
    pub(crate) fn answer_within(&self, door: &Door, target: &Target) -> Response<Body> {
        self.respond(door, &target.host().to_string(), Some(target.port()), false)
    }

    /// For what is not even a target.
    pub(crate) fn answer_about(&self, door: &Door, given: &str) -> Response<Body> {
        let given: String = given.chars().take(SHOWN).collect();
        self.respond(door, &given, None, true)
    }

    /// A connection that was made goes no further.
    pub(crate) fn cut(&self, door: &Door, target: &Target) {
        let (host, rule) = (target.host().to_string(), self.rule());
        door.report(&host, Some(target.port()), rule, false);
        tracing::debug!(sandbox.id = %door.sandbox, host, rule, detail = %self, "egress cut");
    }

    fn respond(&self, door: &Door, host: &str, port: Option<u16>, asked: bool) -> Response<Body> {
        let (status, rule) = (self.status(), self.rule());
        let mut detail = match self {
            // It was the address that was asked for.
            Self::Denied(denied) if denied.address.to_string() == host => self.to_string(),
            _ => format!("{host}: {self}"),
        };
        if let Some(cause) = std::error::Error::source(self) {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
        }
        tracing::debug!(sandbox.id = %door.sandbox, host, port, rule, detail, "egress refused");
        let body = json!({
            "type": format!("/errors/egress_{rule}"),
            "title": "The connection to the outside was not made",
            "status": status.as_u16(),
            "code": format!("egress_{rule}"),
            "detail": detail,
            "host": host,
            "port": port,
            "rule": rule,
            "remedy": self.remedy(),
        });
        let mut response = json(status, &body);
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        if let Some(number) = self
            .is_policy()
            .then(|| door.report(host, port, rule, asked))
            .flatten()
        {
            response.headers_mut().insert(REFUSAL, number.into());
        }
        // Of an answer to CONNECT most programs show only this.
        if let Ok(reason) = ReasonPhrase::try_from(format!("Egress refused ({rule})").into_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        response
    }

    /// Whether somebody decided so, rather than the world being as it is.
    pub(super) fn is_policy(&self) -> bool {
        match self {
            Self::Closed
            | Self::NotListed
            | Self::Words(_)
            | Self::Denied(_)
            | Self::Target(TargetError::Host(HostError::Notation)) => true,
            Self::Target(
                TargetError::UserInfo | TargetError::Port | TargetError::Host(HostError::Name),
            )
            | Self::Scheme
            | Self::TooMany
            | Self::Unresolved(_)
            | Self::LookupTimeout
            | Self::Unreachable(_)
            | Self::ConnectTimeout
            | Self::Answer(_)
            | Self::OwnAddresses(_) => false,
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Closed
            | Self::NotListed
            | Self::Words(_)
            | Self::Denied(_)
            | Self::Target(TargetError::Host(HostError::Notation)) => StatusCode::FORBIDDEN,
            Self::Target(
                TargetError::UserInfo | TargetError::Port | TargetError::Host(HostError::Name),
            )
            | Self::Scheme => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Answer(_) => StatusCode::BAD_GATEWAY,
            Self::LookupTimeout | Self::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::OwnAddresses(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Closed => "mode_none",
            Self::NotListed => "allowlist",
            Self::Words(Wrong::NoServerName | Wrong::ServerName(_) | Wrong::NotTls) => "tls_name",
            Self::Words(
                Wrong::NoHost | Wrong::Host(_) | Wrong::Connect | Wrong::Http2 | Wrong::NotHttp,
            ) => "http_host",
            Self::Words(Wrong::TooLong) => "first_words",
            Self::Target(TargetError::Host(HostError::Notation)) => "notation",
            Self::Target(
                TargetError::UserInfo | TargetError::Port | TargetError::Host(HostError::Name),
            ) => "target",
            Self::Scheme => "scheme",
            Self::Denied(denied) => denied.kind.name(),
            Self::TooMany => "connections",
            Self::Unresolved(_) | Self::LookupTimeout => "unresolved",
            Self::Unreachable(_) | Self::ConnectTimeout | Self::Answer(_) => "unreachable",
            Self::OwnAddresses(_) => "own_addresses",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Closed => {
                "PUT /v1/sandboxes/{id}/egress gives it another policy; [egress] in glasshouse.toml has the default"
            }
            Self::NotListed => {
                "add the host and port to the rules by PUT /v1/sandboxes/{id}/egress"
            }
            Self::Words(_) => "ask by the name that the connection was opened for",
            Self::Target(_) => {
                "ask for a host name or an address with a port, such as example.com:443"
            }
            Self::Scheme => "use CONNECT for https://, as clients do that read HTTPS_PROXY",
            Self::Denied(_) => {
                "only public addresses can be reached; for a service of the sandbox itself add its host to NO_PROXY, for a \
                 private one the operator adds \"host:port\" to allow under [egress] in glasshouse.toml"
            }
            Self::TooMany => "close some, or wait until others end",
            Self::Unresolved(_) | Self::LookupTimeout => "check the name",
            Self::Unreachable(_) | Self::ConnectTimeout | Self::Answer(_) => {
                "check that something listens there, or try again later"
            }
            Self::OwnAddresses(_) => "try again; the server's log has the cause",
        }
    }
}
