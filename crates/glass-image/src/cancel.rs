//! Blocking work that ends when the future that waits for it is dropped.
//!
//! The work runs on a thread. The future holds the writing end of a pipe; the thread holds the reading end, which
//! becomes readable when the future is gone. A pipe rather than a flag, because the thread mostly waits in `poll` for
//! the output of a program and has to wake up for this too.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The thread's end.
#[derive(Debug)]
pub(crate) struct Cancel(PipeReader);

impl Cancel {
    /// Both ends: work is cancelled when the second is dropped.
    pub(crate) fn pair() -> std::io::Result<(Self, PipeWriter)> {
        let (reader, writer) = std::io::pipe()?;
        Ok((Self(reader), writer))
    }

    /// Whether nobody waits for the work any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Timespec::default();
        matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
    }
}

impl AsFd for Cancel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_other_end_cancels() {
        let (cancel, guard) = Cancel::pair().unwrap();
        assert!(!cancel.is_cancelled());
        drop(guard);
        assert!(cancel.is_cancelled());
    }
}
