//! Why a provider refuses, on its way from the gateway to the turn that it concerns.
//!
//! Agents put their own words over a refusal and may try again for minutes; a person learns the provider's words at
//! once.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use glass_gateway::Refusal;
use glass_store::TaskRow;
use glass_types::Event;
use tokio::sync::broadcast;

use super::tasks::Tasks;

/// How many refusals may wait for a turn that is busy; older ones are dropped.
const WAITING: usize = 64;

/// All refusals, to whoever listens.
#[derive(Debug, Clone)]
pub(crate) struct Refusals(broadcast::Sender<Refusal>);

impl Default for Refusals {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Refusals {
    /// Tells whoever listens.
    pub(super) fn refused(&self, refusal: Refusal) {
        // Nobody listens when no turn runs, and nobody has to.
        drop(self.0.send(refusal));
    }
}

/// The last refusal of a turn, as a sentence.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Option<String>>);

impl Heard {
    /// Adds the provider's words to the agent's, unless the agent has repeated them.
    pub(super) fn explain(&self, said: Option<String>) -> Option<String> {
        let refusal = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (refusal, said) {
            (Some(refusal), Some(said)) => {
                let words = refusal
                    .split_once(": ")
                    .map_or(refusal.as_str(), |(_, words)| words);
                Some(if said.contains(words) {
                    said
                } else {
                    format!("{refusal}. {said}")
                })
            }
            (refusal, said) => refusal.or(said),
        }
    }
}

impl Refusals {
    /// Begins to listen. What was refused before is not heard.
    pub(super) fn listen(&self) -> broadcast::Receiver<Refusal> {
        self.0.subscribe()
    }
}

/// Notes refusals of a task's sandbox in the task's log as they come. Never ends by itself.
pub(super) async fn follow(
    tasks: &Tasks,
    task: &TaskRow,
    mut refusals: broadcast::Receiver<Refusal>,
    heard: &Heard,
) -> Infallible {
    loop {
        match refusals.recv().await {
            Ok(refusal) if refusal.sandbox == task.sandbox => {
                let sentence = sentence(&refusal);
                let before = {
                    let mut last = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
                    last.replace(sentence.clone())
                };
                // An agent that tries again is told the same again; the person is not.
                if before.as_ref() != Some(&sentence) {
                    tasks
                        .note(&task.id, Event::Status { message: sentence })
                        .await;
                }
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn sentence(refusal: &Refusal) -> String {
    let provider = refusal.protocol.name();
    match refusal.message.as_str() {
        "" => format!("{provider} answered {}", refusal.status),
        message => format!("{provider} answered {}: {message}", refusal.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(sentence: &str) -> Heard {
        Heard(Mutex::new(Some(sentence.to_owned())))
    }

    #[test]
    fn the_provider_s_words_come_before_the_agent_s() {
        let said = heard("anthropic answered 401: invalid x-api-key")
            .explain(Some("Please log in".into()));
        assert_eq!(
            said.as_deref(),
            Some("anthropic answered 401: invalid x-api-key. Please log in")
        );
    }

    #[test]
    fn words_that_the_agent_repeats_are_not_said_twice() {
        let said = heard("anthropic answered 429: slow down").explain(Some("429 slow down".into()));
        assert_eq!(said.as_deref(), Some("429 slow down"));
    }

    #[test]
    fn without_a_refusal_the_agent_s_words_stay() {
        assert_eq!(
            Heard::default()
                .explain(Some("it fell over".into()))
                .as_deref(),
            Some("it fell over")
        );
    }
}
