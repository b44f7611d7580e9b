//! The log of one agent process: a file of JSON lines, numbered from 1.
//!
//! A line of the file is written by one call and ends with a line break, so a file that ends otherwise was cut by a
//! crash in the middle of a write that nobody was told of: the rest is cut off when it is opened.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glass_guest_protocol::agent::{AgentLine, AgentSource};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// An agent that talks without end shall neither fill the disk, which is the sandbox's own, nor the memory of whoever keeps
/// the index. Years of sensible work stay far below.
const MAX_BYTES: u64 = 1 << 30;
const MAX_LINES: usize = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Record<'a> {
    source: AgentSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once: Option<std::borrow::Cow<'a, str>>,
    text: std::borrow::Cow<'a, str>,
}

/// Appends lines, and reads them by number.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    state: Mutex<State>,
    count: watch::Sender<u64>,
    max_lines: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Where line `index + 1` ends in the file.
    ends: Vec<u64>,
    once: HashSet<String>,
    ended: bool,
}

/// What came of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    Done,
    /// The same `once` was there.
    Repeated,
    /// The log has its last line.
    Ended,
}

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut state = State::default();
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut end = 0;
        while reader.read_until(b'\n', &mut line)? > 0 {
            let Ok(record) = serde_json::from_slice::<Record<'_>>(&line) else {
                break;
            };
            if line.last() != Some(&b'\n') {
                break;
            }
            end += line.len() as u64;
            state.ended = record.source == AgentSource::Exit;
            state.ends.push(end);
            state.once.extend(record.once.map(Into::into));
            line.clear();
        }
        file.set_len(end)?;
        let count = watch::Sender::new(state.ends.len() as u64);
        Ok(Self {
            file,
            state: Mutex::new(state),
            count,
            max_lines: MAX_LINES,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    pub(crate) fn count(&self) -> u64 {
        *self.count.borrow()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Adds a line, then lets readers see it.
    pub(crate) fn append(
        &self,
        source: AgentSource,
        once: Option<&str>,
        text: &str,
    ) -> io::Result<Appended> {
        let record = Record {
            source,
            once: once.map(Into::into),
            text: text.into(),
        };
        let mut bytes = serde_json::to_vec(&record)?;
        bytes.push(b'\n');
        let mut state = self.state();
        if once.is_some_and(|once| state.once.contains(once)) {
            return Ok(Appended::Repeated);
        }
        if state.ended {
            return Ok(Appended::Ended);
        }
        let start = state.ends.last().copied().unwrap_or(0);
        let is_end = source == AgentSource::Exit;
        if !is_end && (start > MAX_BYTES || state.ends.len() >= self.max_lines) {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "the log of this agent process is full",
            ));
        }
        if let Err(error) = self.file.write_all_at(&bytes, start) {
            // Half a line must not be taken for one; if this fails too, opening cuts it off.
            let _ = self.file.set_len(start);
            if is_end {
                // On a full disk it has ended all the same, and those who wait for that are not left waiting.
                state.ended = true;
                drop(state);
                self.count.send_modify(|_| {});
            }
            return Err(error);
        }
        state.ends.push(start + bytes.len() as u64);
        state.once.extend(once.map(str::to_owned));
        state.ended = is_end;
        let count = state.ends.len() as u64;
        // Those who are woken look at the state.
        drop(state);
        self.count.send_if_modified(|known| {
            let is_later = count > *known;
            *known = count.max(*known);
            is_later
        });
        Ok(Appended::Done)
    }

    /// The line with this number, if it is there.
    pub(crate) fn read(&self, number: u64) -> io::Result<Option<AgentLine>> {
        let Some(index) = number
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok())
        else {
            return Ok(None);
        };
        let (start, end) = {
            let state = self.state();
            let Some(end) = state.ends.get(index).copied() else {
                return Ok(None);
            };
            let start = index.checked_sub(1).map_or(0, |before| state.ends[before]);
            (start, end)
        };
        let length = usize::try_from(end - start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        let record: Record<'_> = serde_json::from_slice(&bytes)?;
        Ok(Some(AgentLine {
            number,
            source: record.source,
            text: record.text.into_owned(),
        }))
    }

    /// Waits for the line with this number. None when the log ended before it.
    pub(crate) async fn wait(&self, number: u64) -> io::Result<Option<AgentLine>> {
        let mut count = self.count.subscribe();
        loop {
            // The number is looked at before the file, so that a line added in between is not missed.
            count.borrow_and_update();
            let ended = self.has_ended();
            if let Some(line) = self.read(number)? {
                return Ok(Some(line));
            }
            if ended {
                return Ok(None);
            }
            // The sender lives as long as the log.
            let _ = count.changed().await;
        }
    }

    /// Waits for the last line.
    pub(crate) async fn ended(&self) {
        let mut count = self.count.subscribe();
        // The sender lives as long as the log.
        let _ = count.wait_for(|_| self.has_ended()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_the_same_after_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Log::open(&path).unwrap();
        let text = "a\n\"quoted\" \u{1f980}";
        log.append(AgentSource::Stdin, Some("one"), text).unwrap();
        log.append(AgentSource::Stdout, None, "b").unwrap();
        drop(log);
        let log = Log::open(&path).unwrap();
        assert_eq!(log.count(), 2);
        assert_eq!(log.read(1).unwrap().unwrap().text, text);
        assert_eq!(log.read(2).unwrap().unwrap().source, AgentSource::Stdout);
        assert_eq!(log.read(3).unwrap(), None);
        let again = log
            .append(AgentSource::Stdin, Some("one"), "again")
            .unwrap();
        assert_eq!(again, Appended::Repeated);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_its_number_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Log::open(&path).unwrap();
        log.append(AgentSource::Stdout, None, "whole").unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        log.append(AgentSource::Stdout, None, "torn").unwrap();
        drop(log);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(length + 9)
            .unwrap();
        let log = Log::open(&path).unwrap();
        assert_eq!(log.count(), 1);
        log.append(AgentSource::Stdout, None, "next").unwrap();
        assert_eq!(log.read(2).unwrap().unwrap().text, "next");
    }

    #[test]
    fn nothing_comes_after_the_exit() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(&directory.path().join("log")).unwrap();
        log.append(AgentSource::Exit, None, "exit status 0")
            .unwrap();
        let late = log.append(AgentSource::Stdout, None, "late").unwrap();
        assert_eq!(late, Appended::Ended);
        assert_eq!(log.count(), 1);
    }

    #[test]
    fn a_full_log_takes_nothing_but_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(&directory.path().join("log")).unwrap();
        log.max_lines = 2;
        for _ in 0..2 {
            log.append(AgentSource::Stdout, None, "").unwrap();
        }
        assert!(log.append(AgentSource::Stdout, None, "").is_err());
        log.append(AgentSource::Exit, None, "killed").unwrap();
        assert_eq!(log.count(), 3);
    }

    #[tokio::test]
    async fn an_end_that_cannot_be_written_is_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "").unwrap();
        let mut log = Log::open(&path).unwrap();
        log.append(AgentSource::Stdout, None, "line").unwrap();
        // Not to be written to, as on a full disk.
        log.file = File::open(&path).unwrap();
        assert!(log.append(AgentSource::Exit, None, "killed").is_err());
        log.ended().await;
        assert_eq!(log.wait(1).await.unwrap().unwrap().text, "line");
        assert_eq!(log.wait(2).await.unwrap(), None);
    }
}
