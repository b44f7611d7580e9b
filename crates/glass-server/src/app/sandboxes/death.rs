//! Sandboxes whose processes end by themselves: noticed at once, told to their owner, started anew.
//!
//! What ran is brought back with all it had, three times within ten minutes and with growing pauses. What goes on dying
//! has failed; then only a use, after a while, or somebody who says so brings it back. What was frozen simply has
//! stopped: nobody was using it, and the next use starts it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use glass_api::{Code, Problem};
use glass_store::Millis;
use glass_types::{SandboxState, Transition};
use serde_json::json;

use super::Sandboxes;
use super::driver::{Down, Driver};
use super::move_of;
use super::rest::event;
use super::wake::Wanted;
use crate::clock;
use crate::error::ApiError;

/// Deaths that are longer ago are forgotten.
const MEMORY: Millis = 10 * 60 * 1000;
/// How long the first, second and third new start within that time wait.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// How long a use of what goes on dying waits at least.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// How much of a guest's last words is told.
const WORDS: usize = 2000;

/// When the processes of a sandbox ended by themselves, lately.
#[derive(Debug, Default)]
pub(super) struct Deaths(VecDeque<Millis>);

/// What is done about a death.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is started anew after this time.
    Again(Duration),
    /// It has failed, and no use brings it back before this time.
    Enough(Duration),
}

impl Deaths {
    fn add(&mut self, now: Millis) -> Answer {
        self.0.retain(|at| now - at < MEMORY);
        self.0.push_back(now);
        match PAUSES.get(self.0.len() - 1) {
            Some(pause) => Answer::Again(*pause),
            None => {
                let more = u32::try_from(self.0.len() - PAUSES.len() - 1).unwrap_or(u32::MAX);
                Answer::Enough(LONG_PAUSE.saturating_mul(1 << more.min(4)))
            }
        }
    }

    /// Somebody looked after it.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Sandboxes {
    /// Notes when a sandbox ends without anybody having asked for it.
    pub(super) fn watch_exit(self: &Arc<Self>, driver: &Arc<Driver>) {
        let Some(attached) = driver.attached() else {
            return;
        };
        let (this, driver) = (Arc::clone(self), Arc::clone(driver));
        self.tracker.spawn(async move {
            let exited = tokio::select! {
                exited = this.runtime.exited(&driver.id) => exited,
                () = attached.token.cancelled() => return,
            };
            let _turn = driver.turn().await;
            if attached.token.is_cancelled() {
                return;
            }
            if let Err(error) = exited {
                // The reconciler looks whether it lives, and attaches to it again.
                tracing::warn!(sandbox.id = %driver.id, %error, "cannot watch a sandbox");
                driver.detach(Down::Left);
                return;
            }
            let died = this.died(&driver, "its processes ended unexpectedly").await;
            if let Err(ApiError(problem)) = died {
                tracing::error!(sandbox.id = %driver.id, error = %problem.detail, "cannot note the end of a sandbox");
            }
        });
    }

    /// Does what is to be done about a sandbox that should have processes and has none, in our turn.
    pub(super) async fn died(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        reason: &str,
    ) -> Result<(), ApiError> {
        let words = self.runtime.last_words(&driver.id).await;
        let reason = match &words {
            Some(words) => format!("{reason}; its guest said: {}", tail(words)),
            None => reason.to_owned(),
        };
        tracing::warn!(sandbox.id = %driver.id, reason, "sandbox ended");
        self.metrics.death();
        driver.detach(Down::Died);
        let (from, answer) = {
            let mut inner = driver.inner();
            let from = inner.state;
            // Nobody uses what is frozen, so nobody can make it die again and again.
            let counts = from != SandboxState::Frozen;
            (from, counts.then(|| inner.deaths.add(clock::steady())))
        };
        let again = match answer {
            Some(Answer::Enough(pause)) => {
                let problem = Problem::new(
                    Code::SandboxUnavailable,
                    format!("sandbox {} goes on ending: {reason}", driver.id),
                )
                .with_remedy(format!(
                    "`glasshouse start {}` tries again at once",
                    driver.id
                ));
                driver.inner().trouble.wait(clock::steady(), pause, problem);
                let shift = move_of(driver, from, from.after(Transition::Fail)?)
                    .because(&reason)
                    .telling(event("failed", json!({ "reason": reason })));
                self.shift(driver, shift).await?;
                None
            }
            Some(Answer::Again(_)) | None => {
                let shift = move_of(driver, from, from.after(Transition::Die)?)
                    .telling(event("died", json!({ "reason": reason })));
                self.shift(driver, shift).await?;
                match answer {
                    Some(Answer::Again(pause)) => Some(pause),
                    Some(Answer::Enough(_)) | None => None,
                }
            }
        };
        // What its guest has left behind must not meet the next one.
        if let Err(error) = self.runtime.stop(&driver.id, Duration::ZERO).await {
            tracing::warn!(sandbox.id = %driver.id, %error, "cannot clean up after a sandbox");
        }
        if let Some(pause) = again {
            // Who comes meanwhile rides this.
            drop(self.wake(driver, Wanted::Death(pause))?);
        }
        Ok(())
    }
}

/// The end of what a guest has said: what it said last tells most.
fn tail(words: &str) -> &str {
    let mut begin = words.len().saturating_sub(WORDS);
    while !words.is_char_boundary(begin) {
        begin += 1;
    }
    &words[begin..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_deaths_in_ten_minutes_are_answered_and_the_fourth_is_enough() {
        let mut deaths = Deaths::default();
        for pause in PAUSES {
            assert_eq!(deaths.add(0), Answer::Again(pause));
        }
        assert_eq!(deaths.add(1), Answer::Enough(LONG_PAUSE));
        assert_eq!(deaths.add(1), Answer::Enough(LONG_PAUSE * 2));
        for _ in 0..10 {
            deaths.add(1);
        }
        assert_eq!(deaths.add(1), Answer::Enough(LONG_PAUSE * 16));
        assert_eq!(deaths.add(MEMORY + 1), Answer::Again(PAUSES[0]));
        deaths.add(MEMORY + 1);
        deaths.forget();
        assert_eq!(deaths.add(MEMORY + 1), Answer::Again(PAUSES[0]));
    }

    #[test]
    fn the_last_words_are_the_end_of_what_was_said() {
        let words = format!("ä{}", "b".repeat(WORDS - 1));
        assert_eq!(tail(&words), "b".repeat(WORDS - 1));
        assert_eq!(tail("short"), "short");
    }
}
