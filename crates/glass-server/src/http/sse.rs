//! Server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// An event whose data is JSON.
pub(super) fn json(value: &impl Serialize) -> Event {
    Event::default()
        .json_data(value)
        .unwrap_or_else(|error| Event::default().event("error").data(error.to_string()))
}

/// An answer that is a stream of events. A comment every 15 s keeps proxies from cutting an idle one; it ends when the
/// server stops, which would else wait for it.
pub(super) fn answer(
    events: impl Stream<Item = Event> + Send + 'static,
    shutdown: CancellationToken,
) -> Response {
    let events = events
        .take_until(shutdown.cancelled_owned())
        .map(Ok::<Event, Infallible>);
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response()
}
