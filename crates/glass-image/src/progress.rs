//! What long work tells of itself while it runs.

/// Something worth showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step begins. Steps do not overlap.
    Started {
        /// Its name: `layer tools`, `download 1f2e3d4c5b6a`, …
        step: &'a str,
        /// How many bytes it will handle, when that is known.
        total: Option<u64>,
    },
    /// The step has handled so many bytes in all.
    Bytes {
        /// Its name.
        step: &'a str,
        /// All bytes so far.
        done: u64,
    },
    /// The last line that a program of the step has written.
    Line {
        /// Its name.
        step: &'a str,
        /// Without control characters or line end.
        line: &'a str,
    },
    /// The step is done.
    Finished {
        /// Its name.
        step: &'a str,
        /// Whether there was nothing to do because the store has the result.
        cached: bool,
    },
}

/// Who is told. Called from the working thread, often: it has to be quick and must not wait.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _event: Event<'_>) {}
}

impl<F: Fn(Event<'_>) + Send + Sync> Progress for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}
