//! How long a request waits for its sandbox to wake and for the app in it to start.

use std::task::Poll;
use std::time::Duration;

use glass_types::SandboxId;
use http::header::ACCEPT;
use http::{Method, Request};
use tokio::time::{Instant, sleep_until};

use crate::edge::Shared;
use crate::notice::Refusal;
use crate::{EdgeConfig, Held, headers, page};

/// Between two looks at an app that starts: short at first, for most take no time at all.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(crate) const LAST_PAUSE: Duration = Duration::from_millis(500);

/// A request's patience. Its body is not read while it waits.
pub(crate) struct Wait {
    until: Instant,
    /// Whether it had to.
    pub(crate) waited: bool,
}

impl Wait {
    /// Somebody who looks at a page gets something to look at soon; everything else wants the answer itself.
    pub(crate) fn of<B>(request: &Request<B>, since: Instant, config: &EdgeConfig) -> Self {
        let limit = if is_page(request) {
            config.patience
        } else {
            config.hold
        };
        Self {
            until: since + limit,
            waited: false,
        }
    }

    /// Begins a use of the sandbox, and waits until it is awake.
    pub(crate) async fn enter(
        &mut self,
        shared: &Shared,
        sandbox: &SandboxId,
    ) -> Result<Box<dyn Held>, Refusal> {
        let mut entering = shared.origins.enter(sandbox);
        if let Poll::Ready(entered) = futures::poll!(&mut entering) {
            return Ok(entered?);
        }
        self.waited = true;
        let _waiting = shared.counters.waiting();
        let patience = shared.with_patience(self.until, entering);
        match patience.await {
            Some(entered) => Ok(entered?),
            None => Err(Refusal::Waking(sandbox.clone())),
        }
    }

    /// Waits a little before another look at an app that starts; `false` when there is no time left.
    pub(crate) async fn pause(&mut self, shared: &Shared, pause: &mut Pause) -> bool {
        self.waited = true;
        let _waiting = shared.counters.waiting();
        let next = Instant::now() + pause.next(LAST_PAUSE);
        next < self.until
            && shared
                .with_patience(self.until, sleep_until(next))
                .await
                .is_some()
    }
}

/// Growing pauses.
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// At most `limit`, whatever the one before was.
    pub(crate) fn next(&mut self, limit: Duration) -> Duration {
        let pause = self.0.min(limit);
        self.0 = pause * 3 / 2;
        pause
    }
}

/// Whether a person waits for this as a page of its own.
fn is_page<B>(request: &Request<B>) -> bool {
    let head = request.headers();
    let mode = head.get("sec-fetch-mode");
    request.method() == Method::GET
        && page::prefers_html(head.get(ACCEPT))
        && mode.is_none_or(|mode| mode == "navigate")
        && headers::upgrade(head).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_get_a_page() {
        let check = |method: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_page(&request.body(()).unwrap())
        };
        let html = ("accept", "text/html,*/*;q=0.8");
        assert!(check("GET", &[html]));
        assert!(check("GET", &[html, ("sec-fetch-mode", "navigate")]));
        assert!(!check("GET", &[html, ("sec-fetch-mode", "cors")]));
        assert!(!check("GET", &[("accept", "*/*")]));
        assert!(!check("GET", &[]));
        assert!(!check("POST", &[html]));
        assert!(!check("HEAD", &[html]));
        let upgrade = [html, ("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(!check("GET", &upgrade));
    }

    #[test]
    fn pauses_grow_to_the_limit_and_keep_to_another_at_once() {
        let mut pause = Pause::new();
        let mut pauses = |limit: Duration| -> Vec<Duration> {
            let pauses = std::iter::repeat_with(|| pause.next(limit));
            pauses.take(20).collect()
        };
        let short = pauses(LAST_PAUSE);
        assert!(short.is_sorted());
        assert_eq!((short[0], short[19]), (FIRST_PAUSE, LAST_PAUSE));
        let long = pauses(10 * LAST_PAUSE);
        assert!(long.is_sorted());
        assert_eq!(long[19], 10 * LAST_PAUSE);
        assert_eq!(pauses(LAST_PAUSE), [LAST_PAUSE; 20]);
    }
}
