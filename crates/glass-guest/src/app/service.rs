//! The methods of `glasshouse.App`.

use glass_guest_protocol::connect::{Empty, RpcError};
use http::Request;
use hyper::body::Incoming;

use crate::guest::Guest;
use crate::reply::{self, Reply};

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    match method {
        "Status" => {
            let Empty {} = reply::unary(request).await?;
            Ok(reply::json(&*guest.app.status.borrow()))
        }
        _ => Err(reply::unknown(method)),
    }
}
