//! The output of one process: the last of it is kept, and every reader gets all from where it began.
//!
//! A reader that lags holds the process back, as a full pipe would; without readers old output is dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use glass_guest_protocol::process::{ProcessData, ProcessEnd};
use tokio::sync::Notify;

use super::Process;

/// Kept for those who connect later, and the lag that a reader may have.
const KEPT: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct Output {
    state: Mutex<State>,
    /// Something was added.
    added: Notify,
    /// A reader went on, or went away.
    read: Notify,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<ProcessData>,
    /// Number of the first chunk.
    first: u64,
    bytes: usize,
    end: Option<ProcessEnd>,
    /// The next chunk of each reader.
    readers: BTreeMap<u64, u64>,
    last_reader: u64,
}

fn length(data: &ProcessData) -> usize {
    match data {
        ProcessData::Stdout(bytes) | ProcessData::Stderr(bytes) | ProcessData::Pty(bytes) => {
            bytes.len()
        }
    }
}

impl State {
    fn trim(&mut self) {
        let needed = self.readers.values().copied().min().unwrap_or(u64::MAX);
        while self.bytes > KEPT && self.first < needed {
            let Some(chunk) = self.chunks.pop_front() else {
                return;
            };
            self.first += 1;
            self.bytes -= length(&chunk);
        }
    }
}

impl Output {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds output, then waits until no reader lags too much.
    pub(crate) async fn push(&self, data: ProcessData) {
        {
            let mut state = self.state();
            state.bytes += length(&data);
            state.chunks.push_back(data);
        }
        self.added.notify_waiters();
        loop {
            let read = self.read.notified();
            tokio::pin!(read);
            // Registered before looking, so that a step made in between is not missed.
            read.as_mut().enable();
            {
                let mut state = self.state();
                state.trim();
                if state.bytes <= KEPT {
                    return;
                }
            }
            read.await;
        }
    }

    pub(crate) fn end(&self, end: ProcessEnd) {
        self.state().end = Some(end);
        self.added.notify_waiters();
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Step {
    Data(ProcessData),
    End(ProcessEnd),
}

/// Reads the output of a process from the oldest that is kept.
#[derive(Debug)]
pub(crate) struct Reader {
    process: Arc<Process>,
    id: u64,
}

impl Reader {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        let mut state = process.output.state();
        state.last_reader += 1;
        let id = state.last_reader;
        let first = state.first;
        state.readers.insert(id, first);
        drop(state);
        Self { process, id }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The next piece. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Step {
        let output = &self.process.output;
        loop {
            let added = output.added.notified();
            tokio::pin!(added);
            added.as_mut().enable();
            if let Some(step) = self.take() {
                output.read.notify_waiters();
                return step;
            }
            added.await;
        }
    }

    fn take(&self) -> Option<Step> {
        let mut state = self.process.output.state();
        let next = state.readers.get(&self.id).copied()?;
        let index = usize::try_from(next - state.first).ok()?;
        if let Some(data) = state.chunks.get(index).cloned() {
            state.readers.insert(self.id, next + 1);
            return Some(Step::Data(data));
        }
        state.end.clone().map(Step::End)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.process.output.state().readers.remove(&self.id);
        self.process.output.read.notify_waiters();
    }
}
