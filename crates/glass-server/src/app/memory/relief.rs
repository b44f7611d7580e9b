//! Who goes when memory gets short.

use glass_store::Millis;
use glass_types::SandboxId;

use super::host::Reading;

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// There is enough.
    Calm,
    /// What rests or idles gives its memory back.
    Tight,
    /// So does what is used, but for turns.
    Scarce,
    /// The kernel would soon kill something, and not by need.
    Emergency,
}

impl Level {
    /// Percent available below which a level begins.
    const BEGINS: [(Self, u64); 3] = [(Self::Emergency, 4), (Self::Scarce, 8), (Self::Tight, 15)];
    /// Percent more that it takes to leave it again, so that it does not flutter.
    const LEAVES: u64 = 2;
    /// Percent of time in which all stood still that makes memory tight, and scarce, whatever is said to be available.
    const STALLS: [(Self, f64); 2] = [(Self::Scarce, 30.0), (Self::Tight, 10.0)];

    /// How short memory is now, given how short it was.
    pub(crate) fn of(reading: Reading, before: Self) -> Self {
        let percent = u128::from(reading.available) * 100 / u128::from(reading.total.max(1));
        let by_room = Self::BEGINS.into_iter().find(|(level, begins)| {
            let margin = if before >= *level { Self::LEAVES } else { 0 };
            percent < u128::from(begins + margin)
        });
        let by_stalls = reading
            .stalled
            .and_then(|stalled| Self::STALLS.into_iter().find(|(_, most)| stalled > *most));
        let level = |found: Option<Self>| found.unwrap_or(Self::Calm);
        level(by_room.map(|(level, _)| level)).max(level(by_stalls.map(|(level, _)| level)))
    }
}

/// How much a sandbox needs its memory. The first give it back first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nobody used it for a while.
    Frozen,
    /// It runs and nobody uses it.
    Idle,
    /// Somebody uses it, or wants it to be always on.
    Active,
    /// An agent works in it.
    Turn,
}

impl Class {
    /// How short memory must be for one of this class to be put to rest.
    fn goes_at(self) -> Level {
        match self {
            Self::Frozen | Self::Idle => Level::Tight,
            Self::Active => Level::Scarce,
            Self::Turn => Level::Emergency,
        }
    }

    /// The word for it in metrics and events.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Turn => "turn",
        }
    }
}

/// A sandbox that has memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) id: SandboxId,
    pub(crate) class: Class,
    pub(crate) last_used: Millis,
    /// Bytes that it used when it was last looked at.
    pub(crate) memory: u64,
    /// Whether the kernel was already asked to take from it what it can, since it was frozen.
    pub(crate) is_reclaimed: bool,
}

/// What to do next about short memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Have the kernel take from a frozen one what can be had again.
    Reclaim(SandboxId),
    /// End the processes of one, if it still is of this class.
    Stop(SandboxId, Class),
}

/// The next step, or nothing when nobody is left who may be touched.
pub(crate) fn next(level: Level, residents: &[Resident]) -> Option<Step> {
    if level == Level::Calm {
        return None;
    }
    let frozen = residents
        .iter()
        .filter(|one| one.class == Class::Frozen && !one.is_reclaimed);
    if let Some(largest) = frozen.max_by_key(|one| one.memory) {
        return Some(Step::Reclaim(largest.id.clone()));
    }
    residents
        .iter()
        .filter(|one| level >= one.class.goes_at())
        .min_by_key(|one| {
            // Of those who are used the largest, so that few are disturbed; of the others the one unused the longest.
            let by_size = u64::MAX - one.memory;
            match one.class {
                Class::Frozen | Class::Idle => (one.class, one.last_used, by_size),
                Class::Active | Class::Turn => (one.class, Millis::MIN, by_size),
            }
        })
        .map(|one| Step::Stop(one.id.clone(), one.class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident(class: Class, last_used: Millis, memory: u64) -> Resident {
        Resident {
            id: SandboxId::random(),
            class,
            last_used,
            memory,
            is_reclaimed: true,
        }
    }

    fn reading(percent: u64, stalled: Option<f64>) -> Reading {
        Reading {
            total: 100,
            available: percent,
            stalled,
        }
    }

    #[test]
    fn levels_follow_room_and_stalls_and_do_not_flutter() {
        use Level::{Calm, Emergency, Scarce, Tight};
        for (percent, stalled, before, level) in [
            (50, None, Calm, Calm),
            (15, None, Calm, Calm),
            (14, None, Calm, Tight),
            (16, None, Tight, Tight),
            (17, None, Tight, Calm),
            (7, None, Calm, Scarce),
            (9, None, Scarce, Scarce),
            (9, None, Tight, Tight),
            (3, None, Calm, Emergency),
            (5, None, Emergency, Emergency),
            (50, Some(11.0), Calm, Tight),
            (50, Some(31.0), Calm, Scarce),
            // Standing still alone is no emergency: a turn that builds may be what everybody waits for.
            (50, Some(99.0), Calm, Scarce),
        ] {
            let found = Level::of(reading(percent, stalled), before);
            assert_eq!(found, level, "{percent}% {stalled:?} after {before:?}");
        }
    }

    #[test]
    fn the_least_needed_goes_first_and_a_turn_only_in_an_emergency() {
        let all = [
            resident(Class::Turn, 0, 900),
            resident(Class::Active, 0, 10),
            resident(Class::Active, 9, 20),
            resident(Class::Idle, 7, 500),
            resident(Class::Idle, 3, 1),
            resident(Class::Frozen, 8, 1),
        ];
        let order = |level| {
            let mut left = all.to_vec();
            let mut order = Vec::new();
            while let Some(Step::Stop(id, _)) = next(level, &left) {
                order.push(all.iter().position(|one| one.id == id).unwrap());
                left.retain(|one| one.id != id);
            }
            order
        };
        assert!(order(Level::Calm).is_empty());
        assert_eq!(order(Level::Tight), [5, 4, 3]);
        assert_eq!(order(Level::Scarce), [5, 4, 3, 2, 1]);
        assert_eq!(order(Level::Emergency), [5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn frozen_memory_is_reclaimed_before_anybody_is_stopped() {
        let mut frozen = resident(Class::Frozen, 1, 5);
        frozen.is_reclaimed = false;
        let all = [frozen.clone(), resident(Class::Frozen, 0, 50)];
        assert_eq!(next(Level::Tight, &all), Some(Step::Reclaim(frozen.id)));
    }
}
