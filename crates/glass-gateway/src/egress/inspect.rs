//! What a connection says first, so that the name it was opened for is the name that is asked for.
//!
//! Many names share an address, so a connection that was permitted for one of them could ask for another. TLS says the
//! name in its first message, HTTP in the head of a request; both must be the name that was judged. Other protocols name
//! no host: they go to the host that was judged, and that is all they can do.

use std::time::Duration;

use glass_types::Host;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::refusal::Refusal;
use super::target::Target;

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// The first message of TLS, and the head of a request, are no larger.
const LIMIT: usize = 20 * 1024;
const HEADERS: usize = 128;
/// How long either may take once it has begun.
const PATIENCE: Duration = Duration::from_secs(20);
const HTTP_PORT: u16 = 80;

const METHODS: [&str; 10] = [
    "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT ", "PRI ",
];

/// Why a connection that was opened goes no further.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The policy does not permit what it asks for.
    Refused(Refusal),
    /// It ended or broke.
    Ended,
}

/// What it has said so far.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Too little to know.
    More,
    /// Nothing about hosts that is not permitted.
    Fine,
    Wrong(Wrong),
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// TLS that names no host.
    NoServerName,
    /// TLS for another host.
    ServerName(String),
    /// It begins like TLS, and is none.
    NotTls,
    /// HTTP that names no host, or several.
    NoHost,
    /// HTTP for another host.
    Host(String),
    /// HTTP/2 without TLS, which names the host where it cannot be read in passing.
    Http2,
    /// It begins like HTTP, and is none.
    NotHttp,
    /// It does not come to an end.
    TooLong,
}

/// Reads until it is known what is asked for; returns what was read, which is to be passed on. Nothing when the
/// connection says nothing and ends.
pub(super) async fn first_words(
    stream: &mut (impl AsyncRead + Unpin),
    name: &str,
) -> Result<Vec<u8>, Stopped> {
    let mut words = Vec::new();
    // Some protocols let the other side speak first, for as long as it likes.
    read(stream, &mut words).await?;
    let all = async {
        loop {
            match judge(&words, name) {
                Said::Fine => return Ok(()),
                Said::Wrong(wrong) => return Err(Stopped::Refused(Refusal::Words(wrong))),
                Said::More if words.len() >= LIMIT => {
                    return Err(Stopped::Refused(Refusal::Words(Wrong::TooLong)));
                }
                Said::More => {
                    let before = words.len();
                    read(stream, &mut words).await?;
                    if words.len() == before {
                        return Err(Stopped::Ended);
                    }
                }
            }
        }
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(result) => result.map(|()| words),
        Err(_) => Err(Stopped::Refused(Refusal::Words(Wrong::TooLong))),
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), words: &mut Vec<u8>) -> Result<(), Stopped> {
    let room = u64::try_from(LIMIT - words.len()).unwrap_or(0);
    stream
        .take(room)
        .read_buf(words)
        .await
        .map(drop)
        .map_err(|_| Stopped::Ended)
}

fn judge(words: &[u8], name: &str) -> Said {
    match words.first() {
        None => Said::Fine,
        Some(&HANDSHAKE) => tls(words, name),
        Some(_) => http(words, name),
    }
}

fn tls(words: &[u8], name: &str) -> Said {
    let mut acceptor = Acceptor::default();
    let mut rest = words;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Said::Wrong(Wrong::NotTls);
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return match accepted.client_hello().server_name() {
                    Some(asked) if asked.eq_ignore_ascii_case(name) => Said::Fine,
                    Some(asked) => Said::Wrong(Wrong::ServerName(asked.to_owned())),
                    None => Said::Wrong(Wrong::NoServerName),
                };
            }
            Ok(None) => {}
            Err(_) => return Said::Wrong(Wrong::NotTls),
        }
    }
    Said::More
}

fn http(words: &[u8], name: &str) -> Said {
    let begins = |method: &&str| {
        let length = method.len().min(words.len());
        words[..length] == method.as_bytes()[..length]
    };
    let Some(method) = METHODS.iter().find(|method| begins(method)) else {
        return Said::Fine;
    };
    if words.len() < method.len() {
        return Said::More;
    }
    if *method == "PRI " {
        return Said::Wrong(Wrong::Http2);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(words) {
        Ok(httparse::Status::Partial) => return Said::More,
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Said::Wrong(Wrong::NotHttp),
    }
    // An absolute URL counts for more than the header, so it must name the same.
    let path = request.path.unwrap_or_default();
    let url = path
        .split_once("://")
        .filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let tunnel = (*method == "CONNECT ").then_some(path);
    let mut named = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"))
        .map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim());
    let (Some(host), None) = (named.next(), named.next()) else {
        return Said::Wrong(Wrong::NoHost);
    };
    for asked in [Some(host), url, tunnel].into_iter().flatten() {
        let same = Target::parse(asked, Some(HTTP_PORT))
            .is_ok_and(|target| *target.host() == Host::Name(name.to_owned()));
        if !same {
            return Said::Wrong(Wrong::Host(asked.chars().take(255).collect()));
        }
    }
    Said::Fine
}

#[cfg(test)]
mod tests;
