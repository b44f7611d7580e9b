//! Why a preview cannot be shown: a page for people, a problem (RFC 9457) for programs.
//!
//! The problems also carry what the SDKs of E2B look for: `sandboxId`, and a `message` that contains
//! "was not found" when a sandbox does not run and "port is not open" when nothing listens.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::body::FromEdge;
use crate::headers::EDGE;
use crate::pool::Origin;
use crate::{BadHost, EdgeConfig, Unreachable};

/// A sandbox may have thousands of open ports; a page need not.
const PORTS_SHOWN: usize = 20;

/// Why a request gets no answer from an app.
#[derive(Debug)]
pub(crate) enum Refusal {
    Host(BadHost),
    Unreachable(Unreachable),
    ConnectTimeout { origin: Origin, limit: Duration },
    BadAnswer { origin: Origin, cause: String },
    NotOffered(&'static str),
}

impl From<Unreachable> for Refusal {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

/// What page and problem say.
struct Notice {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    /// What is wrong, naming the thing.
    detail: String,
    /// What to do about it.
    remedy: String,
    /// For the SDKs of E2B, where it differs from the detail.
    message: Option<String>,
    sandbox: Option<String>,
    links: Vec<(String, String)>,
    /// Whether waiting may help: the page then looks again by itself.
    watches: bool,
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

    /// The answer for a client that accepts this.
    pub(crate) fn page(
        &self,
        accept: Option<&HeaderValue>,
        config: &EdgeConfig,
    ) -> Response<FromEdge> {
        let notice = self.notice(config);
        let (kind, body) = if prefers_html(accept) {
            ("text/html; charset=utf-8", notice.html())
        } else {
            ("application/problem+json", notice.problem())
        };
        let mut answer = Response::new(FromEdge::Page(Full::new(Bytes::from(body))));
        *answer.status_mut() = notice.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        headers.insert(EDGE, HeaderValue::from_static(notice.code));
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                 connect-src 'self'; base-uri 'none'; form-action 'none'",
            ),
        );
        if notice.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        answer
    }

    fn notice(&self, config: &EdgeConfig) -> Notice {
        match self {
            Self::Host(reason) => host_notice(reason, config),
            Self::Unreachable(Unreachable::UnknownSandbox(sandbox)) => Notice {
                sandbox: Some(sandbox.clone()),
                ..notice(
                    StatusCode::NOT_FOUND,
                    "sandbox_not_found",
                    "There is no such sandbox",
                    format!("Sandbox {sandbox} was not found."),
                    "Check the address. `glasshouse ps` lists the sandboxes there are.",
                )
            },
            Self::Unreachable(Unreachable::NotRunning { sandbox, state }) => Notice {
                message: Some(format!(
                    "sandbox {sandbox} was not found among the running ones: it is {state}"
                )),
                sandbox: Some(sandbox.to_string()),
                watches: true,
                ..notice(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "sandbox_not_running",
                    "The sandbox is not running",
                    format!("Sandbox {sandbox} is {state}."),
                    &format!("Start it with `glasshouse start {sandbox}`."),
                )
            },
            Self::Unreachable(Unreachable::PortClosed {
                sandbox,
                port,
                open,
            }) => {
                let links = open.iter().take(PORTS_SHOWN).map(|open| {
                    let authority = config.preview_authority(*open, sandbox);
                    (format!("Port {open}"), format!("//{authority}/"))
                });
                Notice {
                    sandbox: Some(sandbox.to_string()),
                    message: Some(format!(
                        "The sandbox is running but port is not open: nothing listens on port {port}"
                    )),
                    links: links.collect(),
                    watches: true,
                    ..notice(
                        StatusCode::BAD_GATEWAY,
                        "port_closed",
                        "Nothing listens here yet",
                        format!(
                            "The port is not open: nothing listens on port {port} in sandbox {sandbox}."
                        ),
                        "Start the app in the sandbox, and have it listen on this port.",
                    )
                }
            }
            Self::Unreachable(Unreachable::Failed(cause)) => notice(
                StatusCode::BAD_GATEWAY,
                "sandbox_unavailable",
                "The sandbox could not be reached",
                format!("The sandbox could not be reached: {cause}."),
                "Try again. If it goes on, `glasshouse doctor` checks the host.",
            ),
            Self::ConnectTimeout { origin, limit } => Notice {
                sandbox: Some(origin.sandbox.to_string()),
                watches: true,
                ..notice(
                    StatusCode::GATEWAY_TIMEOUT,
                    "connect_timeout",
                    "The app does not take connections",
                    format!(
                        "Port {} of sandbox {} took no connection within {limit:?}.",
                        origin.port, origin.sandbox
                    ),
                    "The app may be overloaded or stopped in a debugger. Restart it in the sandbox.",
                )
            },
            Self::BadAnswer { origin, cause } => Notice {
                sandbox: Some(origin.sandbox.to_string()),
                ..notice(
                    StatusCode::BAD_GATEWAY,
                    "bad_gateway",
                    "The app did not answer as it should",
                    format!(
                        "What listens on port {} in sandbox {} gave no valid answer: {cause}.",
                        origin.port, origin.sandbox
                    ),
                    "Look at the app's output in the sandbox, then load the page again.",
                )
            },
            Self::NotOffered(what) => notice(
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "Previews do not offer this",
                format!("Previews do not offer {what}."),
                "Send an ordinary HTTP request, or a WebSocket handshake over HTTP/1.1.",
            ),
        }
    }
}

fn host_notice(reason: &BadHost, config: &EdgeConfig) -> Notice {
    let example = format!(
        "The address of a preview is <port>-<sandbox>.{}.",
        config.preview_domain
    );
    let sentence = format!("{reason}.");
    match reason {
        BadHost::Malformed(_) => notice(
            StatusCode::BAD_REQUEST,
            "invalid_host",
            "The request names no valid host",
            sentence,
            "Send one Host header with a host name or address.",
        ),
        BadHost::Sandbox(sandbox) => Notice {
            sandbox: Some(sandbox.clone()),
            ..notice(
                StatusCode::NOT_FOUND,
                "sandbox_not_found",
                "There is no such sandbox",
                sentence,
                &example,
            )
        },
        BadHost::NotAPreview(_) | BadHost::Port(_) => notice(
            StatusCode::NOT_FOUND,
            "preview_not_found",
            "There is no such preview",
            sentence,
            &example,
        ),
    }
}

fn notice(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    remedy: &str,
) -> Notice {
    Notice {
        status,
        code,
        title,
        detail,
        remedy: remedy.to_owned(),
        message: None,
        sandbox: None,
        links: Vec::new(),
        watches: false,
    }
}

impl Notice {
    fn problem(&self) -> String {
        let mut problem = json!({
            "type": format!("/errors/{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "remedy": self.remedy,
            "message": self.message.as_ref().unwrap_or(&self.detail),
        });
        if let Some(sandbox) = &self.sandbox {
            problem["sandboxId"] = json!(sandbox);
        }
        problem.to_string()
    }

    fn html(&self) -> String {
        let mut more = String::new();
        if !self.links.is_empty() {
            more.push_str("<p>Open in this sandbox:</p><ul>");
            for (text, target) in &self.links {
                let (text, target) = (escape(text), escape(target));
                // Writing to a String cannot fail.
                let _ = write!(more, "<li><a href=\"{target}\">{text}</a></li>");
            }
            more.push_str("</ul>");
        }
        if self.watches {
            more.push_str(WATCH);
        }
        TEMPLATE
            .replace("{status}", self.status.as_str())
            .replace("{title}", &escape(self.title))
            .replace("{more}", &more)
            .replace("{remedy}", &escape(&self.remedy))
            .replace("{detail}", &escape(&self.detail))
    }
}

const TEMPLATE: &str = include_str!("page/page.html");
const WATCH: &str = include_str!("page/watch.html");

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // The template's own marks are not the text's to use.
            '{' => escaped.push_str("&#123;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Whether a client would rather read HTML: it names it, and no JSON above it.
fn prefers_html(accept: Option<&HeaderValue>) -> bool {
    let Some(accept) = accept.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let (mut html, mut json) = (0.0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality: f32 = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        match kind.as_str() {
            "text/html" | "application/xhtml+xml" => html = quality.max(html),
            "application/json" | "application/problem+json" => json = quality.max(json),
            _ => {}
        }
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_html_and_programs_json() {
        for (accept, html) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                true,
            ),
            ("TEXT/HTML", true),
            ("*/*", false),
            ("application/json", false),
            ("application/json, text/html;q=0.9", false),
            ("text/html;q=0", false),
            ("text/html;q=nonsense", false),
            ("image/avif,image/webp", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(accept);
            assert_eq!(prefers_html(Some(&value)), html, "{accept}");
        }
        assert!(!prefers_html(None));
    }

    #[test]
    fn nothing_of_a_host_becomes_markup() {
        let reason = BadHost::NotAPreview("<script>alert('{more}')</script>".to_owned());
        let config = EdgeConfig::new("preview.localhost", 8080);
        let html = host_notice(&reason, &config).html();
        assert!(
            !html.contains("<script>") && !html.contains("{more}"),
            "{html}"
        );
        assert!(html.contains("&lt;script&gt;"), "{html}");
    }

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
        assert!(notice.html().contains(target));
    }
}
