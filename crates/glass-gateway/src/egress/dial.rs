//! A connection to the first address that answers.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;

use super::refusal::Refusal;

/// For all addresses together.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an address has before the next one is tried beside it, as RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);
/// How many addresses are tried.
const ATTEMPTS: usize = 8;

pub(crate) async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Refusal> {
    let stream = match tokio::time::timeout(PATIENCE, race(addresses, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Refusal::Unreachable(error)),
        Err(_) => return Err(Refusal::ConnectTimeout),
    };
    // What programs write is passed on as it comes.
    stream.set_nodelay(true).map_err(Refusal::Unreachable)?;
    Ok(stream)
}

async fn race(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut rest = addresses.iter().take(ATTEMPTS);
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match rest.next() {
            Some(&address) => attempts.push(TcpStream::connect((address, port))),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let finished = if rest.len() == 0 {
            attempts.next().await
        } else {
            match tokio::time::timeout(HEAD_START, attempts.next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            }
        };
        match finished {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = ["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let stream = dial(&addresses, port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), addresses[1]);
    }

    #[tokio::test]
    async fn the_failure_is_told_when_none_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let Err(Refusal::Unreachable(error)) = dial(&["127.0.0.1".parse().unwrap()], port).await
        else {
            panic!("nobody listens");
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
