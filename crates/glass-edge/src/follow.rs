//! What a page that waits is told: an event stream at [`PATH`] of every preview host, answered by the edge itself.
//!
//! Whoever reads it waits for the sandbox and its app like a request does, and is told how far they are. It ends with
//! `ready`, upon which the page loads the app, or `failed`. A sandbox is kept awake by it only so long.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::body::FromEdge;
use crate::edge::Shared;
use crate::headers::EDGE;
use crate::notice::Refusal;
use crate::pool::Origin;
use crate::wait::{LAST_PAUSE, Pause};
use crate::{Progress, Unreachable, page};

/// The path that no app on a preview host is asked for.
pub(crate) const PATH: &str = "/.glasshouse/wake";
/// Proxies between here and the browser cut what is silent.
const BEAT: Duration = Duration::from_secs(15);
/// Between two looks at an app that does not start, for each asks the guest for its ports and its log.
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// The stream. It goes on as long as somebody reads it.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    origin: &Origin,
    method: &Method,
) -> Result<Response<FromEdge>, Refusal> {
    if method != Method::GET {
        return Err(Refusal::NotOffered("anything but GET at /.glasshouse/wake"));
    }
    let (events, body) = mpsc::channel(8);
    let follower = Follower {
        shared: Arc::clone(shared),
        origin: origin.clone(),
        events: events.clone(),
        last: None,
    };
    let stop = shared.stop.clone();
    shared.tasks.spawn(async move {
        tokio::select! {
            () = follower.follow() => {}
            () = beat(&events) => {}
            () = events.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    let mut answer = Response::new(FromEdge::Events(body));
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (EDGE, "wake"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}

async fn beat(events: &mpsc::Sender<Bytes>) {
    loop {
        sleep(BEAT).await;
        if events.send(Bytes::from_static(b":\n\n")).await.is_err() {
            return;
        }
    }
}

struct Follower {
    shared: Arc<Shared>,
    origin: Origin,
    events: mpsc::Sender<Bytes>,
    /// What was said last; it is not said twice.
    last: Option<(&'static str, Value)>,
}

impl Follower {
    async fn follow(mut self) {
        let shared = Arc::clone(&self.shared);
        let _waiting = shared.counters.waiting();
        let limit = shared.config.watch;
        if timeout(limit, self.until_ready()).await.is_err() {
            self.say(
                "failed",
                json!({
                    "title": "The app did not come",
                    "detail": format!("Nothing answered within {} minutes.", limit.as_secs() / 60),
                }),
            )
            .await;
        }
    }

    async fn until_ready(&mut self) {
        let shared = Arc::clone(&self.shared);
        let origin = self.origin.clone();
        let entered = {
            let mut entering = shared.origins.enter(&origin.sandbox);
            // Asked once, so that the wake has begun of which the progress is.
            match futures::poll!(&mut entering) {
                Poll::Ready(entered) => entered,
                Poll::Pending => {
                    let mut progress = shared.origins.progress(&origin.sandbox);
                    loop {
                        tokio::select! {
                            entered = &mut entering => break entered,
                            Some(step) = progress.next() => self.step(step).await,
                        }
                    }
                }
            }
        };
        let _held = match entered {
            Ok(held) => held,
            Err(unreachable) => {
                self.refuse("failed", unreachable).await;
                return;
            }
        };
        let mut pause = Pause::new();
        loop {
            let connecting = shared.origins.connect(&origin.sandbox, origin.port);
            let connected = timeout(shared.config.connect_timeout, connecting).await;
            let limit = match &connected {
                Ok(Err(Unreachable::AppStarting { .. })) => LAST_PAUSE,
                _ => LONG_PAUSE,
            };
            let is_news = match connected {
                Ok(Ok(_)) => {
                    self.say("ready", json!({})).await;
                    return;
                }
                Ok(Err(Unreachable::AppStarting { step, .. })) => {
                    let step = json!({
                        "title": "Starting the app", "text": step,
                    });
                    self.say("step", step).await
                }
                Ok(Err(closed @ Unreachable::PortClosed { .. })) => {
                    self.refuse("closed", closed).await
                }
                Ok(Err(failed @ Unreachable::AppFailed { .. })) => {
                    self.refuse("trouble", failed).await
                }
                Ok(Err(unreachable)) => {
                    self.refuse("failed", unreachable).await;
                    return;
                }
                Err(_) => {
                    let text = "The app does not take connections yet";
                    self.say("step", json!({ "text": text })).await
                }
            };
            if is_news {
                // More may follow soon.
                pause = Pause::new();
            }
            sleep(pause.next(limit)).await;
        }
    }

    async fn step(&mut self, step: Progress) {
        let Progress { text, percent } = step;
        let step = json!({ "title": "Waking up", "text": text, "percent": percent });
        self.say("step", step).await;
    }

    async fn refuse(&mut self, event: &'static str, unreachable: Unreachable) -> bool {
        let notice = Refusal::from(unreachable).notice(&self.shared.config);
        self.say(event, page::problem(&notice)).await
    }

    /// Says what has changed; `false` when nothing has. Who does not listen is noticed elsewhere.
    async fn say(&mut self, event: &'static str, data: Value) -> bool {
        let said = (event, data);
        if self.last.as_ref() == Some(&said) {
            return false;
        }
        // JSON has no line breaks, which would end the event.
        let text = format!("event: {event}\ndata: {}\n\n", said.1);
        self.last = Some(said);
        drop(self.events.send(text.into()).await);
        true
    }
}
