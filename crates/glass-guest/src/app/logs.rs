//! What the app's processes wrote last.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glass_guest_protocol::app::AppLogLine;
use tokio::sync::watch;

/// What is kept.
const KEPT: usize = 2 << 20;
/// A longer line is cut.
const MAX_LINE: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Logs {
    state: Mutex<State>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<AppLogLine>,
    bytes: usize,
    last: u64,
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl Logs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, process: &str, line: &[u8]) {
        let mut text = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]).into_owned();
        if line.len() > MAX_LINE {
            text.push_str(" …[line cut]");
        }
        let last = {
            let mut state = self.state();
            state.last += 1;
            state.bytes += text.len() + 64;
            let number = state.last;
            state.lines.push_back(AppLogLine {
                process: process.to_owned(),
                number,
                text,
            });
            while state.bytes > KEPT
                && let Some(line) = state.lines.pop_front()
            {
                state.bytes -= line.text.len() + 64;
            }
            number
        };
        self.last.send_replace(last);
    }

    /// The last lines of a process, for a message.
    pub(super) fn tail(&self, process: &str, count: usize) -> String {
        let state = self.state();
        let mut lines: Vec<&str> = state
            .lines
            .iter()
            .rev()
            .filter(|line| line.process == process)
            .take(count)
            .map(|line| line.text.as_str())
            .collect();
        lines.reverse();
        lines.join("\n")
    }

    /// The first line from `from` on that is kept, of `process` if given; with it the number to go on from.
    pub(super) fn next(&self, process: Option<&str>, from: u64) -> Result<AppLogLine, u64> {
        let state = self.state();
        let first = state
            .lines
            .front()
            .map_or(state.last + 1, |line| line.number);
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        state
            .lines
            .iter()
            .skip(skip)
            .find(|line| process.is_none_or(|process| process == line.process))
            .cloned()
            .ok_or(state.last + 1)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_lines_make_room_and_numbers_stay() {
        let logs = Logs::default();
        for _ in 0..400 {
            logs.add("web", &[b'x'; MAX_LINE * 2]);
        }
        logs.add("mail", b"last");
        let first = logs.next(None, 1).unwrap();
        assert!(first.number > 100 && first.text.ends_with("cut]"));
        assert_eq!(logs.next(Some("mail"), 1).unwrap().number, 401);
        assert_eq!(logs.next(Some("mail"), 402), Err(402));
        assert_eq!(logs.tail("mail", 5), "last");
    }
}
