//! Server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use glass_api::Problem;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;

/// An event whose data is JSON.
pub(super) fn json(value: &impl Serialize) -> Event {
    Event::default()
        .json_data(value)
        .unwrap_or_else(|error| Event::default().event("error").data(error.to_string()))
}

/// Whether who asks takes a stream of events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Begin after the event with this number. The header `Last-Event-ID` says the same and wins.
    after: Option<u64>,
}

impl EventsQuery {
    /// The number of the last event that the reader has seen; 0 when none.
    pub(super) fn seen(&self, headers: &HeaderMap) -> Result<u64, Problem> {
        Ok(last_event_id(headers)?.or(self.after).unwrap_or(0))
    }
}

/// The number of the last event that a reader who comes back has seen.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.map(Some).ok_or_else(|| {
        Problem::field(
            "Last-Event-ID",
            String::from_utf8_lossy(value.as_bytes()),
            "give the number of an event",
        )
    })
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
