//! The crashes of the app's processes: numbered and on disk, for the control plane to read whenever it comes.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glass_guest_protocol::app::{AppCrash, AppEvent};
use tokio::sync::watch;

use super::journal::Journal;
use super::now;

/// Twice this is kept.
const LIMIT: u64 = 256 << 10;

/// The journal of crashes.
#[derive(Debug)]
pub(crate) struct Events {
    /// None when it cannot be opened, on a full disk say.
    journal: Mutex<Option<Journal>>,
    last: watch::Sender<u64>,
}

impl Events {
    pub(super) fn open(directory: &Path) -> Self {
        let journal = Journal::open(&directory.join("crashes"), LIMIT).ok();
        let last = journal.as_ref().map_or(0, Journal::last);
        Self {
            journal: Mutex::new(journal),
            last: watch::Sender::new(last),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a crash. On a full disk it is told by the app's status alone.
    pub(super) fn add(&self, crash: &AppCrash) {
        let Ok(text) = serde_json::to_string(crash) else {
            return;
        };
        let number = {
            let mut journal = self.journal();
            let Some(journal) = journal.as_mut() else {
                return;
            };
            let number = journal.last() + 1;
            if journal.append(number, now(), &text).is_err() {
                return;
            }
            number
        };
        self.last.send_replace(number);
    }

    /// Events from `from` on that are kept; with them the number to go on from.
    pub(super) fn read(&self, from: u64) -> (Vec<AppEvent>, u64) {
        let mut journal = self.journal();
        let Some(journal) = journal.as_mut() else {
            return (Vec::new(), from);
        };
        let batch = journal.read(from);
        let known = match batch.lines.last() {
            Some(last) if !batch.is_last => last.number,
            Some(_) | None => journal.last(),
        };
        let events = batch.lines.into_iter().filter_map(|line| {
            Some(AppEvent {
                number: line.number,
                at_ms: line.at,
                crash: serde_json::from_str(&line.text).ok()?,
            })
        });
        (events.collect(), from.max(known + 1))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_outlive_the_guest_whatever_the_app_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let crash = AppCrash {
            process: "web".to_owned(),
            lines: vec!["\u{0}\n\u{1b}[31m".repeat(400); 20],
            ..AppCrash::default()
        };
        Events::open(directory.path()).add(&crash);
        let events = Events::open(directory.path());
        events.add(&crash);
        let (first, next) = events.read(1);
        assert_eq!((first[0].number, next), (1, 2));
        assert_eq!(first[0].crash, crash);
        assert_eq!(events.read(2).0[0].crash, crash);
        assert_eq!(events.read(3), (Vec::new(), 3));
    }
}
