//! Bytes between a thread that blocks and a body that does not.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::mpsc::{Receiver, Sender};

const PART: usize = 128 << 10;
/// Parts on the way.
pub(super) const DEPTH: usize = 4;

/// What is written here goes into a body.
#[derive(Debug)]
pub(super) struct Outlet {
    to: Sender<io::Result<Bytes>>,
    part: BytesMut,
}

impl Outlet {
    pub(super) fn new(to: Sender<io::Result<Bytes>>) -> Self {
        Self {
            to,
            part: BytesMut::with_capacity(PART),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::replace(&mut self.part, BytesMut::with_capacity(PART));
        self.to
            .blocking_send(Ok(part.freeze()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        self.send()
    }
}

/// Reads what comes in a body, and counts it.
#[derive(Debug)]
pub(super) struct Inlet {
    from: Receiver<io::Result<Bytes>>,
    part: Bytes,
    read: Arc<AtomicU64>,
}

impl Inlet {
    pub(super) fn new(from: Receiver<io::Result<Bytes>>) -> Self {
        Self {
            from,
            part: Bytes::new(),
            read: Arc::default(),
        }
    }

    /// How many bytes have been read, now and later.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.from.blocking_recv() {
                Some(part) => self.part = part?,
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.part.len());
        buffer[..taken].copy_from_slice(&self.part[..taken]);
        self.part.advance(taken);
        self.read.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }
}
