//! HTTP, as far as it says which host it is for.

use ::http::header::HOST;
use ::http::{Method, Request};
use glass_types::Host;

use super::super::target::Target;
use super::{Said, Wrong};

/// A request with more is none.
pub(in super::super) const HEADERS: usize = 128;
const HTTP_PORT: u16 = 80;

/// What begins with one of these is HTTP, or nothing that is passed on.
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
];
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI";

/// The first request of a connection, if it is one. There are more methods than can be listed, so whatever could be one
/// is read until its line says which protocol it is.
pub(super) fn judge(words: &[u8], name: &str) -> Said {
    // Servers skip empty lines before a request.
    let Some(start) = words.iter().position(|byte| !is_line_end(byte)) else {
        return Said::More;
    };
    let words = &words[start..];
    let Some(end) = words.iter().position(|&byte| !is_token(byte)) else {
        return Said::More;
    };
    let method = &words[..end];
    if words[end] != b' ' || method.is_empty() {
        return Said::Fine;
    }
    if method == PREFACE {
        return Said::Wrong(Wrong::Http2);
    }
    if !METHODS.contains(&method) {
        match words.iter().position(is_line_end) {
            Some(end) if is_request(&words[..end]) => {}
            Some(_) => return Said::Fine,
            // No server takes that in a request, and some protocols have no lines.
            None if words.contains(&0) => return Said::Fine,
            None => return Said::More,
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(words) {
        Ok(httparse::Status::Partial) => return Said::More,
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Said::Wrong(Wrong::NotHttp),
    }
    let path = request.path.unwrap_or_default();
    let is_connect = method == b"CONNECT";
    let url = if is_connect {
        Some(path)
    } else {
        path.split_once("://")
            .filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default())
    };
    let hosts = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"))
        .map(|header| header.value);
    match asks_for(name, hosts, url, is_connect) {
        Ok(()) => Said::Http,
        Err(wrong) => Said::Wrong(wrong),
    }
}

/// The same for any request of a connection.
pub(in super::super) fn request<B>(request: &Request<B>, name: &str) -> Result<(), Wrong> {
    let hosts = request.headers().get_all(HOST).iter();
    let url = request.uri().authority();
    asks_for(
        name,
        hosts.map(|host| host.as_bytes()),
        url.map(|authority| authority.as_str()),
        request.method() == Method::CONNECT,
    )
}

/// All that names a host in a request must name this one. An absolute URL counts for more than the header.
fn asks_for<'a>(
    name: &str,
    mut hosts: impl Iterator<Item = &'a [u8]>,
    url: Option<&str>,
    is_connect: bool,
) -> Result<(), Wrong> {
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Wrong::NoHost);
    };
    let host = std::str::from_utf8(host).unwrap_or_default().trim();
    for asked in [Some(host), url].into_iter().flatten() {
        let is_same = Target::parse(asked, Some(HTTP_PORT))
            .is_ok_and(|target| *target.host() == Host::Name(name.to_owned()));
        if !is_same {
            return Err(Wrong::Host(asked.chars().take(255).collect()));
        }
    }
    if is_connect {
        return Err(Wrong::Connect);
    }
    Ok(())
}

/// Whether the line ends in the version of the protocol, as that of a request does.
fn is_request(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let last = line.rsplit(u8::is_ascii_whitespace).next();
    last.and_then(|word| word.get(..5))
        .is_some_and(|word| word.eq_ignore_ascii_case(b"HTTP/"))
}

/// A bare CR as well, for some take that.
fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// What a method is made of.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
