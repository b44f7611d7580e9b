//! The methods of `glasshouse.App`.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::Stream;
use glass_guest_protocol::app::{
    AppEvent, AppEventsRequest, AppLogLine, AppLogsRequest, AppProcessRequest,
};
use glass_guest_protocol::connect::{Empty, RpcError};
use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::App;
use crate::guest::Guest;
use crate::reply::{self, Reply};
use crate::{fault, server};

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
        "Events" => {
            let wanted: AppEventsRequest = reply::enveloped(request).await?;
            Ok(reply::stream(events(Arc::clone(&guest.app), wanted)))
        }
        "Process" => {
            let wanted: AppProcessRequest = reply::unary(request).await?;
            let app = Arc::clone(&guest.app);
            // In a task of its own: a client that goes away must not leave it half done.
            let process = tokio::spawn(async move { app.order(&wanted.name, wanted.action).await })
                .await
                .map_err(|error| fault::internal(error.to_string()))??;
            Ok(reply::json(&process))
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
    let (from, follow) = (wanted.from.unwrap_or(0), wanted.follow);
    let added = app.logs.subscribe();
    pages(from, follow, added, move |from| {
        app.logs.read(wanted.process.as_deref(), from)
    })
}

fn events(
    app: Arc<App>,
    wanted: AppEventsRequest,
) -> impl Stream<Item = Result<AppEvent, RpcError>> + Send {
    let (from, follow) = (wanted.from.unwrap_or(0), wanted.follow);
    let added = app.events.subscribe();
    pages(from, follow, added, move |from| app.events.read(from))
}

/// What there is from a number on, page by page, then what is added.
fn pages<T: Send>(
    from: u64,
    follow: bool,
    added: watch::Receiver<u64>,
    read: impl Fn(u64) -> (Vec<T>, u64) + Send,
) -> impl Stream<Item = Result<T, RpcError>> + Send {
    let state = (from, added, read, VecDeque::new());
    futures::stream::unfold(
        state,
        move |(mut from, mut added, read, mut page)| async move {
            loop {
                if let Some(item) = page.pop_front() {
                    return Some((Ok(item), (from, added, read, page)));
                }
                // The number is marked as seen before the read, so that what is added in between is not missed.
                added.borrow_and_update();
                let (items, next) = read(from);
                let is_end = next == from;
                (page, from) = (items.into(), next);
                if is_end {
                    if !follow {
                        return None;
                    }
                    added.changed().await.ok()?;
                }
            }
        },
    )
}
