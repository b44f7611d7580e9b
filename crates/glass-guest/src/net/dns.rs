//! Questions for names.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;

use super::datagram::Datagrams;
use super::message::{self, Kind, Question, Reply};
use super::{Answer, Net, answer};
use crate::carry;

/// Questions at the same time; what comes above is told to ask again.
const QUESTIONS: usize = 256;
/// Programs give up after five seconds, most of them.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;

pub(super) async fn serve_datagrams(socket: Datagrams, net: Arc<Net>) -> Infallible {
    let socket = Arc::new(socket);
    let room = Arc::new(Semaphore::new(QUESTIONS));
    loop {
        let Ok((text, way)) = socket.receive().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let question = match message::parse(&text) {
            Ok(question) => question,
            Err(None) => continue,
            Err(Some(refusal)) => {
                socket.send(&refusal, &way);
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            socket.send(&question.answer(Reply::Failed), &way);
            continue;
        };
        let (socket, net) = (Arc::clone(&socket), Arc::clone(&net));
        tokio::spawn(async move {
            let reply = reply(&question, &net).await;
            socket.send(&question.answer(reply), &way);
            drop(permit);
        });
    }
}

pub(super) async fn serve_streams(listener: TcpListener, net: Arc<Net>) -> Infallible {
    carry::each(listener, CONNECTIONS, move |client| {
        let net = Arc::clone(&net);
        async move { answer_stream(client, &net).await }
    })
    .await
}

/// Questions one after the other, each with its length before it.
pub(super) async fn answer_stream(mut client: TcpStream, net: &Net) {
    while let Ok(Ok(length)) = tokio::time::timeout(SILENCE, client.read_u16()).await {
        let mut text = vec![0; usize::from(length)];
        let read = tokio::time::timeout(SILENCE, client.read_exact(&mut text)).await;
        if !matches!(read, Ok(Ok(_))) {
            return;
        }
        let answer = match message::parse(&text) {
            Ok(question) => {
                let reply = reply(&question, net).await;
                question.answer(reply)
            }
            Err(Some(refusal)) => refusal,
            Err(None) => return,
        };
        let length = u16::try_from(answer.len()).unwrap_or(0);
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        if client.write_all(&framed).await.is_err() {
            return;
        }
    }
}

async fn reply(question: &Question, net: &Net) -> Reply {
    let Some(name) = &question.name else {
        return Reply::NoSuchName;
    };
    if name == "localhost" || name.ends_with(".localhost") {
        return match question.kind {
            Kind::A => Reply::Address(Ipv4Addr::LOCALHOST.into()),
            Kind::Aaaa => Reply::Address(Ipv6Addr::LOCALHOST.into()),
            Kind::Other => Reply::Nothing,
        };
    }
    // The gateway connects by either family, so the addresses here are of one, and nothing need be asked for the other.
    if question.kind != Kind::A {
        return Reply::Nothing;
    }
    match tokio::time::timeout(PATIENCE, status(name, net)).await {
        Ok(Some(204)) => Reply::Address(net.address_of(name).into()),
        Ok(Some(403)) => Reply::Prohibited,
        Ok(Some(404)) => Reply::NoSuchName,
        Ok(Some(_) | None) | Err(_) => Reply::Failed,
    }
}

/// The name has only letters that a path may have.
async fn status(name: &str, net: &Net) -> Option<u16> {
    let request = format!(
        "GET /glasshouse/egress/names/{name} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n"
    );
    let mut gateway = UnixStream::connect(net.socket()).await.ok()?;
    gateway.write_all(request.as_bytes()).await.ok()?;
    let Answer { status, .. } = answer(&mut gateway).await?;
    Some(status)
}
