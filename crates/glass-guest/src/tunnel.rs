//! Connections to ports of the sandbox, for a host that cannot enter its network namespace.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use glass_guest_protocol::connect::{Code, RpcError};
use glass_guest_protocol::tunnel::{PATH, UPGRADE};
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::fault;
use crate::reply::{self, Reply};
use crate::socket::Socket;

/// Answers a request for a tunnel. Its bytes flow until one side ends.
pub(crate) async fn open(mut request: Request<Incoming>) -> Reply {
    let port = request.uri().path().strip_prefix(PATH);
    let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
        return reply::refuse(&fault::invalid("a tunnel needs a port from 1 to 65535"));
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return reply::refuse(&fault::invalid("a tunnel needs the header Upgrade: tcp"));
    };
    let stream = match dial(port).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let text = format!("nothing listens on port {port}");
            return reply::refuse(&RpcError::new(Code::NotFound, text));
        }
        Err(error) => return reply::refuse(&fault::internal(format!("port {port}: {error}"))),
    };
    tokio::spawn(splice(upgrade, stream));
    let mut answer = reply::status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(UPGRADE));
    answer
}

/// 127.0.0.1 first, then `::1`.
async fn dial(port: u16) -> io::Result<TcpStream> {
    let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let stream = match v4 {
        Err(ref error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // A kernel without IPv6 has said all that matters with its first answer.
            match TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await {
                Ok(stream) => stream,
                Err(_) => return v4,
            }
        }
        other => other?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn splice(upgrade: OnUpgrade, stream: TcpStream) {
    // A host that went away before the upgrade, or either side's end, is an ordinary end of a connection.
    if let Ok(upgraded) = upgrade.await {
        let (mut host, mut app) = (TokioIo::new(upgraded), Socket(stream));
        let _ = tokio::io::copy_bidirectional(&mut host, &mut app).await;
    }
}
