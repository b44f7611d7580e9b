//! What may pass between a client and an app, and what may not.
//!
//! Three kinds of header stop here: those that speak of one connection only, those that are Glasshouse's own
//! credentials, and answers by which an app would reach beyond its own host.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName,
    HeaderValue, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};

use crate::{EdgeConfig, PASS_HEADER};

/// Speak of one connection, not of the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Where the request came from: only the edge may say so.
const FORWARDED: [HeaderName; 7] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
];

/// Where a token may stand.
const CREDENTIALS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-access-token"),
    HeaderName::from_static("x-auth-token"),
];

/// By these an app would change what the browser thinks of other hosts: `Clear-Site-Data` empties the cookies of the
/// whole registrable domain, `Alt-Svc` moves traffic past the edge.
const BEYOND: [HeaderName; 2] = [
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("alt-svc"),
];

/// Marks the edge's own answers, so that a waiting page can tell them from the app's.
pub(crate) const EDGE: HeaderName = HeaderName::from_static("x-glasshouse-edge");

/// The protocol that a message asks to switch to. `h2c` is not taken: the edge speaks HTTP/2 itself.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let protocol = headers.get(UPGRADE)?;
    (asked && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Whether the body's framing is one that the edge can pass on. Others would change the meaning when removed.
pub(crate) fn plain_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(one), None) => one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Makes a client's request fit for an app.
pub(crate) fn clean_request(
    headers: &mut HeaderMap,
    config: &EdgeConfig,
    host: &HeaderValue,
    client: std::net::IpAddr,
) {
    let trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    remove_hop_by_hop(headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // The edge asks the client for the body itself, as soon as it is wanted.
    headers.remove(EXPECT);
    headers.remove(EDGE);
    headers.remove(PASS_HEADER);
    remove_credentials(headers, &config.token_prefix);
    remove_cookies(headers, &config.cookie_prefix);
    for name in &FORWARDED {
        headers.remove(name);
    }
    headers.insert(HOST, host.clone());
    headers.insert("x-forwarded-host", host.clone());
    headers.insert(
        "x-forwarded-proto",
        HeaderValue::from_static(config.public_scheme),
    );
    if let Ok(address) = HeaderValue::try_from(client.to_canonical().to_string()) {
        headers.insert("x-forwarded-for", address);
    }
}

/// Makes an app's answer fit for a client. `host` is the preview's name without port.
pub(crate) fn clean_response(headers: &mut HeaderMap, config: &EdgeConfig, host: &str) {
    remove_hop_by_hop(headers);
    headers.remove(EDGE);
    for name in &BEYOND {
        headers.remove(name);
    }
    retain(headers, &SET_COOKIE, |value| {
        keeps_to_itself(value.as_bytes(), &config.cookie_prefix, host)
    });
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // A length beside a coding is a lie that the next reader may believe.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    // A client could name `Host` or `Cookie` here to make us drop what an app relies on; it harms only itself.
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| name != CONTENT_LENGTH)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
}

fn remove_credentials(headers: &mut HeaderMap, prefix: &str) {
    for name in &CREDENTIALS {
        retain(headers, name, |value| !is_ours(value.as_bytes(), prefix));
    }
}

/// Whether a credential holds one of our tokens: bare, after a scheme, or inside `Basic` as name or password.
fn is_ours(value: &[u8], prefix: &str) -> bool {
    let words = value.split(|b| b.is_ascii_whitespace() || matches!(b, b',' | b'"' | b'='));
    let ours = |word: &[u8]| word.starts_with(prefix.as_bytes());
    if words.clone().any(ours) {
        return true;
    }
    words
        .filter_map(|word| STANDARD.decode(pad(word)).ok())
        .any(|pair| pair.split(|b| *b == b':').any(ours))
}

fn pad(word: &[u8]) -> Vec<u8> {
    let mut padded = word.to_vec();
    padded.resize(word.len().next_multiple_of(4), b'=');
    padded
}

/// Takes our cookies out and joins the rest into one header, as HTTP/1.1 wants it.
fn remove_cookies(headers: &mut HeaderMap, prefix: &str) {
    let values: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    let pairs = || {
        values
            .iter()
            .flat_map(|v| v.as_bytes().split(|b| *b == b';'))
    };
    let ours = values.len() > 1 || pairs().any(|pair| is_our_cookie(pair, prefix));
    if !ours {
        return;
    }
    headers.remove(COOKIE);
    let kept: Vec<&[u8]> = pairs()
        .filter(|pair| !is_our_cookie(pair, prefix))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .collect();
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
    {
        headers.insert(COOKIE, value);
    }
}

fn is_our_cookie(pair: &[u8], prefix: &str) -> bool {
    // A browser sends a cookie without a name as its value alone, so `=glasshouse_x=1` would come back as ours.
    let start = pair
        .iter()
        .position(|b| !b.is_ascii_whitespace() && *b != b'=');
    let pair = &pair[start.unwrap_or(pair.len())..];
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    let name = ["__Host-", "__Secure-"]
        .iter()
        .find_map(|mark| without_prefix(name, mark))
        .unwrap_or(name);
    without_prefix(name, prefix).is_some()
}

fn without_prefix<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then_some(rest)
}

fn keeps_to_itself(cookie: &[u8], prefix: &str, host: &str) -> bool {
    let mut parts = cookie.split(|b| *b == b';');
    if is_our_cookie(parts.next().unwrap_or_default(), prefix) {
        return false;
    }
    parts.all(|attribute| {
        let mut halves = attribute.splitn(2, |b| *b == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        if !name.eq_ignore_ascii_case(b"domain") {
            return true;
        }
        let domain = halves.next().unwrap_or_default().trim_ascii();
        let domain = domain.strip_prefix(b".").unwrap_or(domain);
        domain.is_empty() || domain.eq_ignore_ascii_case(host.as_bytes())
    })
}

fn retain(headers: &mut HeaderMap, name: &HeaderName, keep: impl Fn(&HeaderValue) -> bool) {
    if headers.get_all(name).iter().all(&keep) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(name)
        .iter()
        .filter(|value| keep(value))
        .cloned()
        .collect();
    headers.remove(name);
    for value in kept {
        headers.append(name, value);
    }
}

#[cfg(test)]
mod tests;
