//! Why a launch failed: the step and what the kernel said.

use std::fmt::Display;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: String,
    pub(crate) reason: String,
}

impl Failure {
    const ENDED: &str = "start init";

    /// Init ended without a word.
    pub(crate) fn ended() -> Self {
        Self {
            step: Self::ENDED.to_owned(),
            reason: "it ended without a word".to_owned(),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.step == Self::ENDED
    }
}

/// Names the step of a result.
pub(crate) trait Step<T> {
    fn step(self, step: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Display> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|e| Failure {
            step: step.into(),
            reason: e.to_string(),
        })
    }
}
