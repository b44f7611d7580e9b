//! Samples, and the rows they make.

use std::time::Duration;

/// How long one thing took, each time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The least sample that `percent` of all do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100);
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) subject: Samples,
    /// What the same would take with nothing around it.
    pub(crate) floor: Option<Samples>,
    /// How many of it in a second, and of its floor.
    pub(crate) rate: Option<(f64, f64)>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, subject: Samples) -> Self {
        Self {
            name: name.into(),
            subject,
            floor: None,
            rate: None,
        }
    }

    pub(crate) fn over(mut self, floor: Samples) -> Self {
        self.floor = Some(floor);
        self
    }

    pub(crate) fn with_rate(mut self, subject: f64, floor: f64) -> Self {
        self.rate = Some((subject, floor));
        self
    }

    /// Its cells as text: name, p50, p99, floor, ratio, rate, floor's rate, n.
    pub(crate) fn cells(&self) -> [String; 8] {
        let none = || "–".to_owned();
        let p50 = self.subject.percentile(50);
        let floor = self.floor.as_ref().map(|floor| floor.percentile(50));
        let rate = |rate: Option<f64>| rate.map_or_else(none, |rate| format!("{rate:.0}"));
        [
            self.name.clone(),
            time(p50),
            time(self.subject.percentile(99)),
            floor.map_or_else(none, time),
            floor.map_or_else(none, |floor| {
                format!("{:.1}", p50.as_secs_f64() / floor.as_secs_f64())
            }),
            rate(self.rate.map(|(subject, _)| subject)),
            rate(self.rate.map(|(_, floor)| floor)),
            self.subject.len().to_string(),
        ]
    }
}

/// What something takes of the memory.
#[derive(Debug)]
pub(crate) struct Amount {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// What the same takes with nothing around it.
    pub(crate) floor: Option<u64>,
}

impl Amount {
    /// Its cells as text: name, amount, floor.
    pub(crate) fn cells(&self) -> [String; 3] {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        [
            self.name.clone(),
            mebibytes(self.bytes),
            self.floor.map_or_else(|| "–".to_owned(), mebibytes),
        ]
    }
}

/// A duration with three figures that mean something.
fn time(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 1.0 {
        format!("{:.0} µs", ms * 1000.0)
    } else if ms < 10.0 {
        format!("{ms:.2} ms")
    } else if ms < 100.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}
