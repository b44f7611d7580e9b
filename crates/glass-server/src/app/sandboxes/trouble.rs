//! What keeps a sandbox that cannot be brought up from being tried at every request.

use std::time::Duration;

use glass_api::Problem;
use glass_store::Millis;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Failures in a row. The one after the first is tried at once; then the pauses grow.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failures: u32,
    last: Option<(Millis, Problem)>,
}

impl Trouble {
    /// Notes a failure.
    pub(super) fn failed(&mut self, now: Millis, problem: Problem) {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.failures {
            0 | 1 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 2).min(6)).min(LONGEST),
        };
        self.wait(now, pause, problem);
    }

    /// Notes that nothing is to be tried for a while, and why.
    pub(super) fn wait(&mut self, now: Millis, pause: Duration, problem: Problem) {
        let pause = Millis::try_from(pause.as_millis()).unwrap_or(Millis::MAX);
        self.last = Some((now.saturating_add(pause), problem));
    }

    /// Notes that all is well.
    pub(super) fn over(&mut self) {
        *self = Self::default();
    }

    /// The last failure, while it is too early to try again.
    pub(super) fn holds(&self, now: Millis) -> Option<Problem> {
        let (until, problem) = self.last.as_ref()?;
        let left = u64::try_from(until - now).ok().filter(|left| *left > 0)?;
        Some(problem.clone().with_retry_after(left.div_ceil(1000)))
    }

    /// When it may be tried again; long ago when nothing is wrong.
    pub(super) fn until(&self) -> Millis {
        self.last.as_ref().map_or(Millis::MIN, |(until, _)| *until)
    }

    /// The last failure.
    pub(super) fn last(&self) -> Option<&Problem> {
        self.last.as_ref().map(|(_, problem)| problem)
    }
}

#[cfg(test)]
mod tests {
    use glass_api::Code;

    use super::*;

    fn problem() -> Problem {
        Problem::new(Code::SandboxUnavailable, "no")
    }

    #[test]
    fn the_second_try_is_at_once_and_the_pauses_grow_to_a_minute() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.holds(0), None);
        trouble.failed(0, problem());
        assert_eq!(trouble.holds(0), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            trouble.failed(0, problem());
            let held = trouble.holds(0).unwrap();
            assert_eq!(held.retry_after, Some(seconds));
            assert_eq!(trouble.holds(i64::try_from(seconds).unwrap() * 1000), None);
        }
        trouble.over();
        trouble.failed(0, problem());
        assert_eq!(trouble.holds(0), None, "what went well in between counts");
    }
}
