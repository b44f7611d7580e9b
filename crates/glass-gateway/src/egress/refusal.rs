//! Why there is no connection, as an answer and in the log.

use std::io;

use glass_types::SandboxId;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::json;

use super::door::CONNECTIONS;
use super::policy::Denied;
use super::target::{Target, TargetError};
use crate::body::{Body, json};

/// How much of what was asked is repeated when it is no target.
const SHOWN: usize = 128;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this server lets sandboxes reach nothing outside")]
    Closed,
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
    pub(crate) fn answer(&self, sandbox: &SandboxId, target: &Target) -> Response<Body> {
        self.respond(sandbox, &target.host().to_string(), Some(target.port()))
    }

    /// For what is not even a target.
    pub(crate) fn answer_about(&self, sandbox: &SandboxId, given: &str) -> Response<Body> {
        let given: String = given.chars().take(SHOWN).collect();
        self.respond(sandbox, &given, None)
    }

    fn respond(&self, sandbox: &SandboxId, host: &str, port: Option<u16>) -> Response<Body> {
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
        tracing::warn!(sandbox.id = %sandbox, host, port, rule, detail, "egress refused");
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
        // Of an answer to CONNECT most programs show only this.
        if let Ok(reason) = ReasonPhrase::try_from(format!("Egress refused ({rule})").into_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Closed | Self::Denied(_) | Self::Target(TargetError::Notation) => {
                StatusCode::FORBIDDEN
            }
            Self::Target(TargetError::UserInfo | TargetError::Port | TargetError::Name)
            | Self::Scheme => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unresolved(_) | Self::Unreachable(_) | Self::Answer(_) => StatusCode::BAD_GATEWAY,
            Self::LookupTimeout | Self::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::OwnAddresses(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn rule(&self) -> &'static str {
        match self {
            Self::Closed => "mode_none",
            Self::Target(TargetError::Notation) => "notation",
            Self::Target(TargetError::UserInfo | TargetError::Port | TargetError::Name) => "target",
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
            Self::Closed => "the operator sets mode = \"open\" under [egress] in glasshouse.toml",
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
