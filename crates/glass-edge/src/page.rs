//! A notice as an answer: a page for people, a problem (RFC 9457) for programs.
//!
//! Pages bear no name: what people wait for is the app that they came for.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::body::FromEdge;
use crate::headers::EDGE;
use crate::notice::{Notice, Patience};

/// The answer for a client that accepts this.
pub(crate) fn answer(notice: &Notice, accept: Option<&HeaderValue>) -> Response<FromEdge> {
    let (kind, body) = if prefers_html(accept) {
        ("text/html; charset=utf-8", html(notice))
    } else {
        ("application/problem+json", problem(notice).to_string())
    };
    let mut answer = Response::new(FromEdge::Page(Full::new(Bytes::from(body))));
    *answer.status_mut() = notice.status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    let code = HeaderValue::from_str(&notice.code);
    headers.insert(EDGE, code.unwrap_or(HeaderValue::from_static("refused")));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'",
        ),
    );
    if let Some(seconds) = notice.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if notice.status == StatusCode::UNAUTHORIZED {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("GlasshousePreview"),
        );
    }
    answer
}

/// What programs read.
pub(crate) fn problem(notice: &Notice) -> serde_json::Value {
    let mut problem = json!({
        "type": format!("/errors/{}", notice.code),
        "title": notice.title,
        "status": notice.status.as_u16(),
        "detail": notice.detail,
        "code": notice.code,
        "remedy": notice.remedy,
        "message": notice.message.as_ref().unwrap_or(&notice.detail),
    });
    if let Some(sandbox) = &notice.sandbox {
        problem["sandboxId"] = json!(sandbox);
    }
    if let Some(reason) = notice.reason {
        problem["reason"] = json!(reason);
    }
    if let Some(seconds) = notice.retry_after {
        problem["retry_after"] = json!(seconds);
    }
    if !notice.lines.is_empty() {
        problem["lines"] = json!(notice.lines);
    }
    problem
}

fn html(notice: &Notice) -> String {
    let mut more = String::new();
    if !notice.links.is_empty() {
        more.push_str("<p>Open in this sandbox:</p><ul>");
        for (text, target) in &notice.links {
            let (text, target) = (escape(text), escape(target));
            // Writing to a String cannot fail.
            let _ = write!(more, "<li><a href=\"{target}\">{text}</a></li>");
        }
        more.push_str("</ul>");
    }
    let is_warming = notice.patience == Patience::Warming;
    // What to do by hand is for whom the page does nothing.
    let remedy = if is_warming { "" } else { &notice.remedy };
    if matches!(notice.patience, Patience::Watch | Patience::Warming) {
        more.push_str(WATCH);
    }
    let kind = match notice.patience {
        Patience::Pointless => "pointless",
        Patience::Retry => "retry",
        Patience::Watch => "watch",
        Patience::Warming => "warming",
    };
    TEMPLATE
        .replace("{kind}", kind)
        .replace("{status}", notice.status.as_str())
        .replace("{title}", &escape(&notice.title))
        .replace("{more}", &more)
        .replace("{remedy}", &escape(remedy))
        .replace("{lines}", &escape(&notice.lines.join("\n")))
        .replace("{detail}", &escape(&notice.detail))
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
pub(crate) fn prefers_html(accept: Option<&HeaderValue>) -> bool {
    let Some(accept) = accept.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let (mut html, mut json) = (0.0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        let place = if is("text/html") || is("application/xhtml+xml") {
            &mut html
        } else if is("application/json") || is("application/problem+json") {
            &mut json
        } else {
            continue;
        };
        let quality: f32 = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        *place = quality.max(*place);
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Refusal;
    use crate::{BadHost, EdgeConfig, Unreachable};

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
    fn nothing_of_a_host_or_of_an_app_becomes_markup() {
        let text = "<script>alert('{more}{title}')</script>";
        let config = EdgeConfig::new("preview.localhost", 8080);
        let host = Refusal::Host(BadHost::NotAPreview(text.to_owned()));
        let failed = Refusal::from(Unreachable::AppFailed {
            sandbox: "abcdefghijklmno1".parse().unwrap(),
            message: text.to_owned(),
            lines: vec![text.to_owned()],
        });
        for refusal in [host, failed] {
            let html = html(&refusal.notice(&config));
            assert!(
                !html.contains("<script>alert") && !html.contains("{more}"),
                "{html}"
            );
            assert!(html.contains("&lt;script&gt;alert"), "{html}");
        }
    }
}
