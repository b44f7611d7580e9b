//! What the guest asks: whether a name may be known, and whose connection it was that was refused.
//!
//! Everything in a sandbox can ask the same; nobody learns more from it than from a `CONNECT`.

use glass_types::Host;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Egress;
use super::door::Door;
use super::permit;
use super::refusal::Refusal;
use super::report::PROCESS;
use super::target::{Target, TargetError};
use crate::body::{Body, full};

/// No path of a model's protocol begins like this.
pub(super) const PATH: &str = "/glasshouse/egress/";

const DNS_PORT: u16 = 53;

pub(super) async fn answer(
    egress: &Egress,
    door: &Door,
    request: &Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().strip_prefix(PATH).unwrap_or_default();
    match (request.method(), path.split_once('/')) {
        (&Method::GET, Some(("names", name))) => match name_exists(egress, door, name).await {
            Ok(()) => status(StatusCode::NO_CONTENT),
            Err((_, Refusal::Unresolved(error))) if !is_temporary(&error) => {
                status(StatusCode::NOT_FOUND)
            }
            Err((target, refusal)) => match target {
                Some(target) => refusal.answer(door, &target),
                None => refusal.answer_about(door, name),
            },
        },
        (&Method::POST, Some(("refusals", number))) => {
            let process = request.headers().get(PROCESS).and_then(|p| p.to_str().ok());
            if let (Ok(number), Some(process)) = (number.parse(), process) {
                door.waiting.found(number, process);
            }
            status(StatusCode::NO_CONTENT)
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

/// Whether the policy lets the name be known, and it has addresses that may be reached.
async fn name_exists(
    egress: &Egress,
    door: &Door,
    name: &str,
) -> Result<(), (Option<Target>, Refusal)> {
    let host: Host = name
        .parse()
        .map_err(|error| (None, Refusal::from(TargetError::Host(error))))?;
    let target = Target::new(host, DNS_PORT);
    let exists = async {
        permit::known(&door.control, target.host())?;
        egress.exists(door, &target).await
    };
    exists.await.map_err(|refusal| (Some(target), refusal))
}

/// The resolver's errors have no kind, only the C library's words.
fn is_temporary(error: &std::io::Error) -> bool {
    error.to_string().contains("Temporary failure")
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    response
}
