//! Connections to ports of a sandbox through its guest, where its network namespace cannot be entered.

use bytes::Bytes;
use glass_guest_protocol::tunnel::{PATH, UPGRADE};
use glass_types::SandboxId;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use crate::{BoxStream, RuntimeError};

/// Makes of a connection to the guest one to a TCP port on the loopback of its sandbox, 127.0.0.1 first, then `::1`.
///
/// # Errors
/// [`RuntimeError::PortClosed`] when nothing listens there.
pub async fn tunnel(
    guest: BoxStream,
    id: &SandboxId,
    port: u16,
) -> Result<BoxStream, RuntimeError> {
    let failed = |reason: String| RuntimeError::Step {
        id: id.clone(),
        step: "connect to a port through the guest",
        reason,
    };
    let request = Request::get(format!("{PATH}{port}"))
        .header(header::HOST, "guest")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, UPGRADE)
        .body(Empty::<Bytes>::new())
        .map_err(|e| failed(e.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(guest))
        .await
        .map_err(|e| failed(e.to_string()))?;
    // It ends with the upgrade, or when the sender is dropped.
    tokio::spawn(connection.with_upgrades());
    let answer = sender
        .send_request(request)
        .await
        .map_err(|e| failed(e.to_string()))?;
    match answer.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            let upgraded = hyper::upgrade::on(answer)
                .await
                .map_err(|e| failed(e.to_string()))?;
            Ok(Box::new(TokioIo::new(upgraded)))
        }
        StatusCode::NOT_FOUND => Err(RuntimeError::PortClosed {
            id: id.clone(),
            port,
        }),
        status => Err(failed(format!("the guest answered {status}"))),
    }
}
