//! The methods of `glasshouse.App`.

use std::sync::Arc;

use futures::Stream;
use glass_guest_protocol::app::{AppLogLine, AppLogsRequest};
use glass_guest_protocol::connect::{Empty, RpcError};
use http::Request;
use hyper::body::Incoming;

use super::App;
use crate::guest::Guest;
use crate::reply::{self, Reply};
use crate::server;

pub(crate) async fn call(
    guest: &Guest,
    method: &str,
    request: Request<Incoming>,
) -> Result<Reply, RpcError> {
    match method {
        "Status" => {
            let Empty {} = reply::unary(request).await?;
            let status = guest.app.status.borrow().clone();
            Ok(reply::json(&status))
        }
        "Watch" => {
            let Empty {} = reply::enveloped(request).await?;
            let mut receiver = guest.app.status.subscribe();
            receiver.mark_changed();
            Ok(reply::stream(futures::stream::unfold(
                receiver,
                |mut receiver| async move {
                    receiver.changed().await.ok()?;
                    let status = receiver.borrow_and_update().clone();
                    Some((Ok(status), receiver))
                },
            )))
        }
        "Logs" => {
            let wanted: AppLogsRequest = reply::enveloped(request).await?;
            Ok(reply::stream(lines(Arc::clone(&guest.app), wanted)))
        }
        "Restart" => {
            let Empty {} = reply::unary(request).await?;
            guest.app.restart.notify_one();
            server::done()
        }
        _ => Err(reply::unknown(method)),
    }
}

fn lines(
    app: Arc<App>,
    wanted: AppLogsRequest,
) -> impl Stream<Item = Result<AppLogLine, RpcError>> + Send {
    let from = wanted.from.unwrap_or(0);
    let receiver = app.logs.subscribe();
    futures::stream::unfold((app, wanted, from, receiver), |state| async move {
        let (app, wanted, mut from, mut receiver) = state;
        loop {
            receiver.borrow_and_update();
            match app.logs.next(wanted.process.as_deref(), from) {
                Ok(line) => {
                    let next = line.number + 1;
                    return Some((Ok(line), (app, wanted, next, receiver)));
                }
                Err(next) => from = from.max(next),
            }
            if !wanted.follow {
                return None;
            }
            receiver.changed().await.ok()?;
        }
    })
}
