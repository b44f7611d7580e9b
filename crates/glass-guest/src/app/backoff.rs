//! When a process that ended is started again: a pure function of how long it ran.

use std::time::Duration;

/// One that ends sooner than this has failed quickly.
const QUICK: Duration = Duration::from_secs(10);
/// After so many quick failures in a row nobody believes in another try.
const MAX_QUICK: u32 = 5;
/// One that ran for so long ran well: what was before is forgotten.
const WELL: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// In a row.
    failures: u32,
    quick: u32,
}

/// What to do after an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this time.
    Again(Duration),
    /// It failed quickly so many times in a row.
    GiveUp(u32),
}

impl Backoff {
    /// It ended after having run for so long.
    pub(super) fn ended(&mut self, ran: Duration) -> Next {
        if ran >= WELL {
            self.failures = 0;
        }
        self.quick = if ran < QUICK { self.quick + 1 } else { 0 };
        if self.quick >= MAX_QUICK {
            return Next::GiveUp(self.quick);
        }
        let pause = FIRST * 2_u32.pow(self.failures.min(16));
        self.failures += 1;
        Next::Again(pause.min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after ends, in seconds; none when it is given up.
    fn pauses(backoff: &mut Backoff, ran: &[u64]) -> Vec<Option<u64>> {
        let next = |ran: &u64| match backoff.ended(Duration::from_secs(*ran)) {
            Next::Again(pause) => Some(pause.as_secs()),
            Next::GiveUp(_) => None,
        };
        ran.iter().map(next).collect()
    }

    #[test]
    fn pauses_double_and_the_fifth_quick_failure_is_the_last() {
        let mut backoff = Backoff::default();
        let wanted = [Some(1), Some(2), Some(4), Some(8), None];
        assert_eq!(pauses(&mut backoff, &[9; 5]), wanted);
    }

    #[test]
    fn one_that_ran_well_begins_anew() {
        let mut backoff = Backoff::default();
        let wanted = [1, 2, 4, 8, 1, 2, 4, 8].map(Some);
        assert_eq!(pauses(&mut backoff, &[9, 9, 9, 9, 60, 9, 9, 9]), wanted);
    }

    #[test]
    fn one_that_runs_for_a_while_is_never_given_up_but_not_hurried() {
        let mut backoff = Backoff::default();
        let wanted = [1, 2, 4, 8, 16, 30, 30].map(Some);
        assert_eq!(pauses(&mut backoff, &[9, 9, 10, 9, 9, 10, 9]), wanted);
    }
}
