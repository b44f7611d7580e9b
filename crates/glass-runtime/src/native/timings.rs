//! Where the time of bringing up a sandbox goes.

use std::time::Duration;

use glass_launch::StepTime;
use glass_types::SandboxId;
use tokio::time::Instant;

/// A stopwatch that is never stopped: each step ends where the next one begins.
#[derive(Debug)]
pub(super) struct Timings {
    begin: Instant,
    times: Vec<StepTime>,
}

impl Timings {
    pub(super) fn begin() -> Self {
        Self {
            begin: Instant::now(),
            times: Vec::new(),
        }
    }

    /// Ends the step that is under way.
    pub(super) fn done(&mut self, name: &str) {
        let time = self.under_way();
        self.push(name, time);
    }

    /// Ends the launch, of which the launcher has told the most.
    pub(super) fn launched(&mut self, steps: Vec<StepTime>) {
        let told: Duration = steps.iter().map(|step| step.time).sum();
        let time = self.under_way().saturating_sub(told);
        self.push("spawn the launcher, hear from it", time);
        for StepTime { name, time } in steps {
            self.push(&format!("· {name}"), time);
        }
    }

    /// Tells the log, and hands out the steps.
    pub(super) fn finish(self, id: &SandboxId) -> Vec<StepTime> {
        for StepTime { name, time } in &self.times {
            tracing::debug!(sandbox.id = %id, step = name, took = ?time, "step");
        }
        self.times
    }

    fn under_way(&self) -> Duration {
        let told: Duration = self.times.iter().map(|step| step.time).sum();
        self.begin.elapsed().saturating_sub(told)
    }

    fn push(&mut self, name: &str, time: Duration) {
        let name = name.to_owned();
        self.times.push(StepTime { name, time });
    }
}
