//! What the app's processes wrote last, on disk: a journal for each, so that a talkative one does not cost the others
//! their lines, and one numbering over all.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use glass_guest_protocol::app::AppLogLine;
use tokio::sync::watch;

use super::journal::Journal;
use super::{manifest, now};

/// Of each process twice this is kept.
const LIMIT: u64 = 1 << 20;
/// A longer line is cut.
const MAX_LINE: usize = 16 << 10;
/// Processes whose logs are kept. A manifest may name other workers every day.
const MAX_PROCESSES: usize = 32;
/// Lines for messages, of each process.
const RECENT: usize = 20;
const MAX_RECENT: usize = 1 << 10;

/// The logs of all processes.
#[derive(Debug)]
pub(crate) struct Logs {
    directory: PathBuf,
    state: Mutex<State>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    processes: BTreeMap<String, Log>,
    last: u64,
}

#[derive(Debug, Default)]
struct Log {
    /// None when it cannot be opened, on a full disk say.
    journal: Option<Journal>,
    /// The last lines once more: what ends an app may be the very disk.
    recent: VecDeque<String>,
}

impl Log {
    fn last(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::last)
    }
}

impl Logs {
    /// Opens the logs that are there.
    pub(super) fn open(directory: &Path) -> Self {
        let mut processes = BTreeMap::new();
        // A guest that cannot keep logs is better than none.
        let _ = std::fs::create_dir_all(directory);
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if is_log && manifest::is_process(name) && processes.len() < MAX_PROCESSES {
                let journal = Journal::open(&path, LIMIT).ok();
                let recent = VecDeque::new();
                processes.insert(name.to_owned(), Log { journal, recent });
            }
        }
        let last = processes.values().map(Log::last).max().unwrap_or(0);
        Self {
            directory: directory.to_owned(),
            state: Mutex::new(State { processes, last }),
            last: watch::Sender::new(last),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a process wrote, a line or several.
    pub(super) fn add(&self, process: &str, text: &[u8]) {
        let last = {
            let mut state = self.state();
            for line in text.split(|byte| *byte == b'\n') {
                self.add_line(&mut state, process, line);
            }
            state.last
        };
        self.last.send_replace(last);
    }

    fn add_line(&self, state: &mut State, process: &str, line: &[u8]) {
        let text = cut(line, MAX_LINE);
        let number = state.last + 1;
        if !state.processes.contains_key(process) {
            self.make_room(state);
        }
        let log = state.processes.entry(process.to_owned()).or_default();
        if log.recent.len() == RECENT {
            log.recent.pop_front();
        }
        log.recent.push_back(cut(line, MAX_RECENT));
        if log.journal.is_none() {
            let path = self.directory.join(format!("{process}.log"));
            log.journal = Journal::open(&path, LIMIT).ok();
        }
        // On a full disk the line is lost, and its number is the next one's.
        if let Some(journal) = &mut log.journal
            && journal.append(number, now(), &text).is_ok()
        {
            state.last = number;
        }
    }

    /// Forgets the process that has been silent for the longest when there are too many.
    fn make_room(&self, state: &mut State) {
        if state.processes.len() < MAX_PROCESSES {
            return;
        }
        let silent = state.processes.iter().min_by_key(|(_, log)| log.last());
        let Some(name) = silent.map(|(name, _)| name.clone()) else {
            return;
        };
        state.processes.remove(&name);
        for extension in ["log", "old"] {
            let _ = std::fs::remove_file(self.directory.join(format!("{name}.{extension}")));
        }
    }

    /// The last lines of a process.
    pub(super) fn tail(&self, process: &str) -> Vec<String> {
        let state = self.state();
        let log = state.processes.get(process);
        log.map(|log| log.recent.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Lines from `from` on that are kept, of `process` if given; with them the number to go on from.
    pub(super) fn read(&self, process: Option<&str>, from: u64) -> (Vec<AppLogLine>, u64) {
        let mut state = self.state();
        // Nothing is told of what lies beyond what has been read of every process.
        let mut known = state.last;
        let mut lines = Vec::new();
        for (name, log) in &mut state.processes {
            let Some(journal) = &mut log.journal else {
                continue;
            };
            if process.is_some_and(|process| process != name) {
                continue;
            }
            let batch = journal.read(from);
            if let (false, Some(last)) = (batch.is_last, batch.lines.last()) {
                known = known.min(last.number);
            }
            lines.extend(batch.lines.into_iter().map(|line| AppLogLine {
                process: name.clone(),
                number: line.number,
                at_ms: line.at,
                text: line.text,
            }));
        }
        drop(state);
        lines.retain(|line| line.number <= known);
        lines.sort_unstable_by_key(|line| line.number);
        (lines, from.max(known + 1))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

/// The text of a line, not longer than a limit.
fn cut(line: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(&line[..line.len().min(limit)]).into_owned();
    if line.len() > limit {
        text.push_str(" …[line cut]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(logs: &Logs, process: Option<&str>) -> Vec<AppLogLine> {
        let (mut lines, mut from) = (Vec::new(), 0);
        loop {
            let (more, next) = logs.read(process, from);
            lines.extend(more);
            if next == from {
                return lines;
            }
            from = next;
        }
    }

    #[test]
    fn a_talkative_process_does_not_cost_another_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(directory.path());
        logs.add("mail", b"first");
        for _ in 0..400 {
            logs.add("web", &[b'x'; MAX_LINE * 2]);
        }
        logs.add("mail", b"last\nof all");
        let lines = all(&logs, None);
        assert_eq!((lines[0].number, lines[0].text.as_str()), (1, "first"));
        assert!(lines.len() > 60 && lines.len() < 200, "{}", lines.len());
        assert!(lines[1].number > 100 && lines[1].text.ends_with("cut]"));
        assert!(lines.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mail = all(&logs, Some("mail"));
        assert_eq!(
            mail.iter().map(|line| line.number).collect::<Vec<_>>(),
            [1, 402, 403]
        );
        assert_eq!(logs.tail("mail"), ["first", "last", "of all"]);
    }

    #[test]
    fn lines_and_numbers_outlive_the_guest() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(directory.path());
        logs.add("web", b"one");
        logs.add("mail", b"two");
        drop(logs);
        let logs = Logs::open(directory.path());
        logs.add("web", b"three");
        let lines = all(&logs, None);
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (line.number, line.text.as_str()))
            .collect();
        assert_eq!(lines, [(1, "one"), (2, "two"), (3, "three")]);
    }

    #[test]
    fn processes_that_come_and_go_do_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(directory.path());
        for number in 0..100 {
            logs.add(&format!("worker-{number}"), b"x");
        }
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            MAX_PROCESSES
        );
        assert_eq!(all(&logs, None).last().unwrap().process, "worker-99");
    }

    #[test]
    fn last_words_are_told_where_nothing_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(&directory.path().join("file"));
        std::fs::remove_dir(directory.path().join("file")).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        logs.add("web", b"no space left on device");
        assert_eq!(logs.tail("web"), ["no space left on device"]);
        assert_eq!(logs.read(None, 0), (Vec::new(), 1));
    }
}
