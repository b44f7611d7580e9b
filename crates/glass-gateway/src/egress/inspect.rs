//! What a connection says first, so that the name it was opened for is the name that is asked for.
//!
//! Many names share an address, so a connection that was permitted for one of them could ask for another. TLS says the
//! name in its first message, HTTP in the head of each request; all must be the name that was judged. Other protocols
//! name no host: they go to the host that was judged, and that is all they can do.

mod http;

use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::refusal::Refusal;
pub(super) use http::{HEADERS, request};

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// The first message of TLS, and the head of a request, are no larger.
const LIMIT: usize = 20 * 1024;
/// How long either may take once it has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a connection that was opened goes no further.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The policy does not permit what it asks for.
    Refused(Refusal),
    /// It asks for what it may, in HTTP, and more requests may follow. What was read of it.
    Http(Vec<u8>),
    /// It ended or broke.
    Ended,
}

/// What it has said so far.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Too little to know.
    More,
    /// Nothing about hosts that is not permitted, now and later.
    Fine,
    /// A request that is permitted.
    Http,
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
    /// HTTP that asks for a tunnel, in which nothing more could be judged.
    Connect,
    /// HTTP/2 without TLS, which names the host where it cannot be read in passing.
    Http2,
    /// It begins like HTTP, and is none.
    NotHttp,
    /// It does not come to an end.
    TooLong,
}

/// Reads until it is known what is asked for; returns what was read, which is to be passed on as everything after it.
/// Nothing when the connection says nothing and ends. HTTP comes as [`Stopped::Http`], for more than the first words of it
/// must be judged.
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
                Said::Fine => return Ok(false),
                Said::Http => return Ok(true),
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
        Ok(Ok(true)) => Err(Stopped::Http(words)),
        Ok(result) => result.map(|_| words),
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
        Some(_) => http::judge(words, name),
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

#[cfg(test)]
mod tests;
