//! `CONNECT`: bytes both ways, whatever they mean.

use std::io;

use glass_types::Host;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::Egress;
use super::door::Door;
use super::idle::{IDLE_LIMIT, Watched};
use super::inspect::{self, Stopped, Wrong};
use super::permit::Permit;
use super::refusal::Refusal;
use super::requests;
use super::target::Target;
use crate::body::{Body, full};

/// In each direction.
const BUFFER: usize = 32 * 1024;
/// What a TLS client shows as "access denied": a fatal alert, before any key was agreed on.
const ACCESS_DENIED: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x31];

pub(crate) async fn tunnel(
    egress: &Egress,
    door: &Door,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let given = request.uri().authority().map_or("", |a| a.as_str());
    let target = match Target::parse(given, None) {
        Ok(target) => target,
        Err(error) => return Refusal::from(error).answer_about(door, given),
    };
    // Before the lookup, so that what waits counts as well.
    let Some(room) = door.room() else {
        return Refusal::TooMany.answer(door, &target);
    };
    let (outside, permit) = match egress.open(door, &target).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal.answer(door, &target),
    };
    tracing::debug!(sandbox.id = %door.sandbox, host = %target.host(), port = target.port(), "tunnel opened");
    // It begins when the answer has been written.
    let inside = hyper::upgrade::on(&mut request);
    door.keep(pass(inside, outside, door.clone(), target, permit, room));
    Response::new(full(""))
}

/// Until both sides have ended, or one has broken, or nothing passed for a long time, or the policy does not permit it
/// any more. The end of one direction is passed on, and the other goes on.
async fn pass(
    inside: OnUpgrade,
    outside: TcpStream,
    door: Door,
    target: Target,
    permit: Permit,
    room: OwnedSemaphorePermit,
) {
    if let Ok(inside) = inside.await {
        let (outside, activity) = Watched::new(door.shaped(outside));
        let name = match target.host() {
            Host::Name(name) if permit.is_listed() => Some(name.as_str()),
            Host::Name(_) | Host::Address(_) => None,
        };
        let refusal = tokio::select! {
            ended = carry(TokioIo::new(inside), outside, &door, &target, name) => match ended {
                Err(Stopped::Refused(refusal)) => Some(refusal),
                // Either side's break is an ordinary end of a tunnel.
                Ok(()) | Err(Stopped::Http(_) | Stopped::Ended) => None,
            },
            () = activity.idle(IDLE_LIMIT) => None,
            refusal = permit.withdrawn(name.is_some()) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            refusal.cut(&door, &target);
        }
    }
    drop(room);
}

/// `name`: the only host that may be asked for.
async fn carry(
    mut inside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut outside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    door: &Door,
    target: &Target,
    name: Option<&str>,
) -> Result<(), Stopped> {
    let (mut inside_read, inside_write) = tokio::io::split(&mut inside);
    let (outside_read, mut outside_write) = tokio::io::split(&mut outside);
    let out = async {
        if let Some(name) = name {
            let words = inspect::first_words(&mut inside_read, name).await?;
            outside_write.write_all(&words).await?;
        }
        copy(inside_read, outside_write).await
    };
    let back = copy(outside_read, inside_write);
    let ended = tokio::try_join!(out, back).map(drop);
    match (ended, name) {
        (Err(Stopped::Http(words)), Some(name)) => {
            requests::pass(words, inside, outside, (door, target, name)).await
        }
        (Err(Stopped::Refused(refusal)), _) => {
            if let Refusal::Words(Wrong::NoServerName | Wrong::ServerName(_)) = refusal {
                // Whoever does not read it learns by the end of the connection.
                let _ = inside.write_all(&ACCESS_DENIED).await;
            }
            Err(Stopped::Refused(refusal))
        }
        (ended, _) => ended,
    }
}

async fn copy(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> Result<(), Stopped> {
    tokio::io::copy_buf(&mut BufReader::with_capacity(BUFFER, from), &mut to).await?;
    to.shutdown().await?;
    Ok(())
}

impl From<io::Error> for Stopped {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}
