//! What each step of a launch took.
#![expect(
    clippy::disallowed_types,
    reason = "the launcher has no tokio, and no test pauses its clock"
)]

use std::time::{Duration, Instant};

use glass_launch::StepTime;

/// What ends them between the processes; it is in no name and no path.
pub(crate) const END: char = '\0';

/// A stopwatch that is never stopped: each step ends where the next one begins. It goes on after a fork, as parent and
/// child have the same clock.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    begin: Instant,
    times: Vec<StepTime>,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self {
            begin: Instant::now(),
            times: Vec::new(),
        }
    }

    /// Ends the step that is under way.
    pub(crate) fn done(&mut self, name: &str) {
        let told: Duration = self.times.iter().map(|step| step.time).sum();
        self.times.push(StepTime {
            name: name.to_owned(),
            time: self.begin.elapsed().saturating_sub(told),
        });
    }

    /// As text for the process on the other side of the fork, with [`END`].
    pub(crate) fn to_text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(&self.times).expect("names and numbers are plain data");
        text.push(END as u8);
        text
    }

    /// Takes over what the other side measured since the fork.
    pub(crate) fn take_text(&mut self, text: &str) {
        // Times are for people to read: no launch fails for want of them.
        if let Ok(times) = serde_json::from_str(text) {
            self.times = times;
        }
    }

    pub(crate) fn finish(self) -> Vec<StepTime> {
        self.times
    }
}
