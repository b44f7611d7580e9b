//! `CONNECT`: bytes both ways, whatever they mean.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::Egress;
use super::door::Door;
use super::idle::{IDLE_LIMIT, Watched};
use super::refusal::Refusal;
use super::target::Target;
use crate::body::{Body, full};

/// In each direction.
const BUFFER: usize = 32 * 1024;

pub(crate) async fn tunnel(
    egress: &Egress,
    door: &Door,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let given = request.uri().authority().map_or("", |a| a.as_str());
    let target = match Target::parse(given, None) {
        Ok(target) => target,
        Err(error) => return Refusal::from(error).answer_about(&door.sandbox, given),
    };
    // Before the lookup, so that what waits counts as well.
    let Some(room) = door.room() else {
        return Refusal::TooMany.answer(&door.sandbox, &target);
    };
    let outside = match egress.open(door, &target).await {
        Ok(outside) => outside,
        Err(refusal) => return refusal.answer(&door.sandbox, &target),
    };
    tracing::debug!(sandbox.id = %door.sandbox, host = %target.host(), port = target.port(), "tunnel opened");
    // It begins when the answer has been written.
    let inside = hyper::upgrade::on(&mut request);
    door.keep(pass(inside, outside, room));
    Response::new(full(""))
}

/// Until both sides have ended, or one has broken, or nothing passed for a long time. The end of one direction is
/// passed on, and the other goes on.
async fn pass(inside: OnUpgrade, outside: TcpStream, room: OwnedSemaphorePermit) {
    if let Ok(inside) = inside.await {
        let mut inside = TokioIo::new(inside);
        let (mut outside, activity) = Watched::new(outside);
        tokio::select! {
            // Either side's break is an ordinary end of a tunnel.
            _ = tokio::io::copy_bidirectional_with_sizes(&mut inside, &mut outside, BUFFER, BUFFER) => {}
            () = activity.idle(IDLE_LIMIT) => {}
        }
    }
    drop(room);
}
