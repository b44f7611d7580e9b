//! What the test knows: which sandboxes and snapshots there must be, and what is in them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// Name and digest of every file that was acknowledged.
pub(crate) type Files = BTreeMap<String, String>;

/// What is remembered of the doings of one sandbox, for whoever has to find out.
const STORY: usize = 40;

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    pub(crate) story: Story,
    /// Whoever works on it holds the lock, so what is known stays true.
    pub(crate) state: tokio::sync::Mutex<State>,
}

/// What there must be of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) files: Files,
    /// Lines of its log, which grows by commands.
    pub(crate) lines: u32,
    /// Snapshots of it that were acknowledged.
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) is_gone: bool,
}

/// What a snapshot holds.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) files: Files,
    pub(crate) lines: u32,
}

impl State {
    /// What a snapshot that is taken now holds.
    pub(crate) fn now(&self, id: String) -> Snapshot {
        Snapshot {
            id,
            files: self.files.clone(),
            lines: self.lines,
        }
    }
}

/// What was done with a sandbox, for whoever has to find out.
#[derive(Debug, Default)]
pub(crate) struct Story(Mutex<VecDeque<(Instant, String)>>);

impl Story {
    /// Remembers what is about to be done.
    pub(crate) fn note(&self, what: impl Into<String>) {
        let mut told = lock(&self.0);
        if told.len() == STORY {
            told.pop_front();
        }
        told.push_back((Instant::now(), what.into()));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, what) in lock(&self.0).iter() {
            writeln!(f, "  {:.2} s ago: {what}", at.elapsed().as_secs_f32())?;
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    sandboxes: Arc<Mutex<Vec<Arc<Sandbox>>>>,
    /// Every id that was ever seen, and how often its guest was killed.
    seen: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Known {
    pub(crate) fn add(&self, id: String, state: State) {
        self.saw(&id);
        let sandbox = Sandbox {
            id,
            story: Story::default(),
            state: tokio::sync::Mutex::new(state),
        };
        lock(&self.sandboxes).push(Arc::new(sandbox));
    }

    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        lock(&self.sandboxes).clone()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.sandboxes).len()
    }

    pub(crate) fn any(&self, random: &mut StdRng) -> Option<Arc<Sandbox>> {
        self.all().choose(random).cloned()
    }

    /// One that somebody works on right now, if there is one.
    pub(crate) fn busy(&self, random: &mut StdRng) -> Option<Arc<Sandbox>> {
        let mut all = self.all();
        all.retain(|one| one.state.try_lock().is_err());
        all.choose(random).cloned()
    }

    pub(crate) fn forget(&self, id: &str) {
        lock(&self.sandboxes).retain(|one| one.id != id);
    }

    /// Remembers an id, so that its leftovers are looked for.
    pub(crate) fn saw(&self, id: &str) {
        lock(&self.seen).entry(id.to_owned()).or_default();
    }

    pub(crate) fn seen(&self) -> BTreeSet<String> {
        lock(&self.seen).keys().cloned().collect()
    }

    /// Counts a death of a guest, unless it has died as often as that.
    pub(crate) fn may_die(&self, id: &str, most: u32) -> bool {
        let mut seen = lock(&self.seen);
        let deaths = seen.entry(id.to_owned()).or_default();
        *deaths += 1;
        *deaths <= most
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}
