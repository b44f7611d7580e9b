//! Why a request gets no answer from an app, in words.
//!
//! The words also hold what the SDKs of E2B look for: "was not found" when a sandbox does not run and
//! "port is not open" when nothing listens.

use std::borrow::Cow;
use std::time::Duration;

use glass_types::SandboxId;
use http::StatusCode;

use crate::pool::Origin;
use crate::{BadHost, Denied, EdgeConfig, Problem, Unreachable};

/// A sandbox may have thousands of open ports; a page need not.
const PORTS_SHOWN: usize = 20;
/// Seconds after which to come back to a sandbox that wakes.
const SOON: u64 = 2;

/// Why a request gets no answer from an app.
#[derive(Debug)]
pub(crate) enum Refusal {
    Host(BadHost),
    Unreachable(Unreachable),
    /// The sandbox was not awake in time.
    Waking(SandboxId),
    ConnectTimeout {
        origin: Origin,
        limit: Duration,
    },
    BadAnswer {
        origin: Origin,
        cause: String,
    },
    NotOffered(&'static str),
}

impl From<Unreachable> for Refusal {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

/// What page and problem say.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) title: Cow<'static, str>,
    /// What is wrong, naming the thing.
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) remedy: String,
    /// For the SDKs of E2B, where it differs from the detail.
    pub(crate) message: Option<String>,
    /// The reason of a refusal, as a word.
    pub(crate) reason: Option<&'static str>,
    pub(crate) sandbox: Option<String>,
    /// What the app said last.
    pub(crate) lines: Vec<String>,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) patience: Patience,
}

/// What somebody who looks at the page can wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Nothing; only another request helps.
    #[default]
    Pointless,
    /// Trying again may help.
    Retry,
    /// The page gives way to the app when there is one.
    Watch,
    /// It is about to.
    Warming,
}

impl Refusal {
    pub(crate) fn bad_answer(origin: &Origin, error: hyper::Error) -> Self {
        use std::error::Error;
        let cause = if error.is_parse_too_large() {
            "the head of its answer is too large".to_owned()
        } else if error.is_parse() {
            "it does not speak HTTP/1.1".to_owned()
        } else if error.is_incomplete_message() || error.is_canceled() {
            "it closed the connection without an answer".to_owned()
        } else {
            error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string)
        };
        Self::odd_answer(origin, cause)
    }

    pub(crate) fn odd_answer(origin: &Origin, cause: impl Into<String>) -> Self {
        Self::BadAnswer {
            origin: origin.clone(),
            cause: cause.into(),
        }
    }

    pub(crate) fn notice(&self, config: &EdgeConfig) -> Notice {
        match self {
            Self::Host(reason) => host_notice(reason, config),
            Self::Unreachable(unreachable) => unreachable_notice(unreachable, config),
            Self::Waking(sandbox) => Notice {
                title: "Waking up".into(),
                detail: format!("Sandbox {sandbox} is waking up."),
                remedy: "Send the request again in a moment.".to_owned(),
                ..warming(sandbox, "waking")
            },
            Self::ConnectTimeout { origin, limit } => Notice {
                status: StatusCode::GATEWAY_TIMEOUT,
                code: "connect_timeout".into(),
                title: "The app does not take connections".into(),
                detail: format!(
                    "Port {} of sandbox {} took no connection within {limit:?}.",
                    origin.port, origin.sandbox
                ),
                remedy:
                    "The app may be overloaded or stopped in a debugger. Restart it in the sandbox."
                        .to_owned(),
                sandbox: Some(origin.sandbox.to_string()),
                patience: Patience::Watch,
                ..Notice::default()
            },
            Self::BadAnswer { origin, cause } => Notice {
                status: StatusCode::BAD_GATEWAY,
                code: "bad_gateway".into(),
                title: "The app did not answer as it should".into(),
                detail: format!(
                    "What listens on port {} in sandbox {} gave no valid answer: {cause}.",
                    origin.port, origin.sandbox
                ),
                remedy: "Look at the app's output in the sandbox, then load the page again."
                    .to_owned(),
                sandbox: Some(origin.sandbox.to_string()),
                patience: Patience::Retry,
                ..Notice::default()
            },
            Self::NotOffered(what) => Notice {
                status: StatusCode::NOT_IMPLEMENTED,
                code: "not_implemented".into(),
                title: "Previews do not offer this".into(),
                detail: format!("Previews do not offer {what}."),
                remedy: "Send an ordinary HTTP request, or a WebSocket handshake over HTTP/1.1."
                    .to_owned(),
                ..Notice::default()
            },
        }
    }
}

fn unreachable_notice(unreachable: &Unreachable, config: &EdgeConfig) -> Notice {
    match unreachable {
        Unreachable::UnknownSandbox(sandbox) => Notice {
            detail: format!("Sandbox {sandbox} was not found."),
            remedy: "Check the address. `glasshouse ps` lists the sandboxes there are.".to_owned(),
            ..no_sandbox(sandbox)
        },
        Unreachable::Denied(denied) => denied_notice(*denied),
        Unreachable::NotRunning { sandbox, state } => Notice {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "sandbox_not_running".into(),
            title: "The sandbox is not running".into(),
            detail: format!("Sandbox {sandbox} is {state}."),
            remedy: format!("Try again, or start it with `glasshouse start {sandbox}`."),
            message: Some(format!(
                "sandbox {sandbox} was not found among the running ones: it is {state}"
            )),
            sandbox: Some(sandbox.to_string()),
            retry_after: Some(SOON),
            patience: Patience::Retry,
            ..Notice::default()
        },
        Unreachable::AppStarting { sandbox, step } => Notice {
            title: "Starting the app".into(),
            detail: format!("The app in sandbox {sandbox} is starting: {step}."),
            remedy: "Send the request again in a moment.".to_owned(),
            message: Some(format!(
                "The sandbox is running but port is not open yet: {step}"
            )),
            ..warming(sandbox, "app_starting")
        },
        Unreachable::AppFailed {
            sandbox,
            message,
            lines,
        } => Notice {
            status: StatusCode::BAD_GATEWAY,
            code: "app_failed".into(),
            title: "The app did not start".into(),
            detail: message.clone(),
            remedy: "Mend it in the sandbox, and it is started again.".to_owned(),
            message: Some(format!(
                "The sandbox is running but port is not open: {message}"
            )),
            sandbox: Some(sandbox.to_string()),
            lines: lines.clone(),
            patience: Patience::Watch,
            ..Notice::default()
        },
        Unreachable::PortClosed {
            sandbox,
            port,
            open,
        } => {
            let links = open.iter().take(PORTS_SHOWN).map(|open| {
                let authority = config.preview_authority(*open, sandbox);
                (format!("Port {open}"), format!("//{authority}/"))
            });
            Notice {
                status: StatusCode::BAD_GATEWAY,
                code: "port_closed".into(),
                title: "Nothing listens here yet".into(),
                detail: format!(
                    "The port is not open: nothing listens on port {port} in sandbox {sandbox}."
                ),
                remedy: "Start the app in the sandbox, and have it listen on this port.".to_owned(),
                message: Some(format!(
                    "The sandbox is running but port is not open: nothing listens on port {port}"
                )),
                sandbox: Some(sandbox.to_string()),
                links: links.collect(),
                patience: Patience::Watch,
                ..Notice::default()
            }
        }
        Unreachable::Refused(problem) => refused_notice(problem),
        Unreachable::Failed(cause) => Notice {
            status: StatusCode::BAD_GATEWAY,
            code: "sandbox_unavailable".into(),
            title: "The sandbox could not be reached".into(),
            detail: format!("The sandbox could not be reached: {cause}."),
            remedy: "Try again. If it goes on, `glasshouse doctor` checks the host.".to_owned(),
            patience: Patience::Retry,
            ..Notice::default()
        },
    }
}

/// Not 200: what comes now is no page of the app, for crawlers and caches neither.
fn warming(sandbox: &SandboxId, code: &'static str) -> Notice {
    Notice {
        status: StatusCode::SERVICE_UNAVAILABLE,
        code: code.into(),
        sandbox: Some(sandbox.to_string()),
        retry_after: Some(SOON),
        patience: Patience::Warming,
        ..Notice::default()
    }
}

fn denied_notice(denied: Denied) -> Notice {
    let remedy = match denied {
        Denied::OtherSite => {
            "Open the preview itself, or send a pass in the header X-Glasshouse-Preview."
        }
        Denied::NoPass
        | Denied::BadSignature
        | Denied::Expired
        | Denied::OtherSandbox
        | Denied::OtherPort => {
            "Ask its owner for a link, which `glasshouse link <sandbox>` makes. \
             Programs send the link's pass in the header X-Glasshouse-Preview."
        }
    };
    Notice {
        status: StatusCode::UNAUTHORIZED,
        code: "preview_private".into(),
        title: "This preview is private".into(),
        detail: format!("This preview is private, and {denied}."),
        remedy: remedy.to_owned(),
        reason: Some(denied.code()),
        ..Notice::default()
    }
}

fn refused_notice(problem: &Problem) -> Notice {
    let status = StatusCode::from_u16(problem.status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error());
    Notice {
        status: status.unwrap_or(StatusCode::BAD_GATEWAY),
        code: problem.code.clone().into(),
        title: problem.title.clone().into(),
        detail: problem.detail.clone(),
        remedy: problem.remedy.clone().unwrap_or_default(),
        retry_after: problem.retry_after,
        patience: Patience::Retry,
        ..Notice::default()
    }
}

fn host_notice(reason: &BadHost, config: &EdgeConfig) -> Notice {
    let example = format!(
        "The address of a preview is <port>-<sandbox>.{}.",
        config.preview_domain
    );
    let detail = format!("{reason}.");
    match reason {
        BadHost::Malformed(_) => Notice {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_host".into(),
            title: "The request names no valid host".into(),
            detail,
            remedy: "Send one Host header with a host name or address.".to_owned(),
            ..Notice::default()
        },
        BadHost::Sandbox(sandbox) => Notice {
            detail,
            remedy: example,
            ..no_sandbox(sandbox)
        },
        BadHost::NotAPreview(_) | BadHost::Port(_) => Notice {
            status: StatusCode::NOT_FOUND,
            code: "preview_not_found".into(),
            title: "There is no such preview".into(),
            detail,
            remedy: example,
            ..Notice::default()
        },
    }
}

fn no_sandbox(sandbox: &str) -> Notice {
    Notice {
        status: StatusCode::NOT_FOUND,
        code: "sandbox_not_found".into(),
        title: "There is no such sandbox".into(),
        sandbox: Some(sandbox.to_owned()),
        ..Notice::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lists_few_of_many_ports() {
        let sandbox = "abcdefghijklmno1".parse().unwrap();
        let closed = Unreachable::PortClosed {
            sandbox,
            port: 1,
            open: (2..2000).collect(),
        };
        let config = EdgeConfig::new("preview.localhost", 8080);
        let notice = Refusal::from(closed).notice(&config);
        assert_eq!(notice.links.len(), PORTS_SHOWN);
        let target = "//2-abcdefghijklmno1.preview.localhost:8080/";
        assert!(notice.links.iter().any(|(_, link)| link == target));
    }
}
