//! Moves what a process writes into its [`Output`](super::output::Output).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use glass_guest_protocol::process::ProcessData;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use super::Process;

const PART: usize = 32 << 10;
/// A pipe holds at most this; what a process wrote before it ended is not more.
const PIPE: usize = 1 << 20;

/// Starts a pump. The receiver is told when all that the process itself wrote has been moved.
///
/// Children that it left behind may hold the other end for ever, so their output is not waited for; it is read and
/// dropped, as a closed pipe would kill them.
pub(super) fn start(
    fd: Arc<AsyncFd<OwnedFd>>,
    wrap: fn(Vec<u8>) -> ProcessData,
    process: Arc<Process>,
    mut exited: watch::Receiver<bool>,
) -> oneshot::Receiver<()> {
    let (moved, done) = oneshot::channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; PART];
        loop {
            let length = tokio::select! {
                length = read(&fd, &mut buffer) => length,
                _ = exited.wait_for(|exited| *exited) => break,
            };
            if length == 0 {
                return;
            }
            process.output.push(wrap(buffer[..length].to_vec())).await;
        }
        let mut rest = PIPE;
        while rest > 0
            && let Ok(length) = rustix::io::read(fd.get_ref(), &mut buffer)
        {
            if length == 0 {
                return;
            }
            process.output.push(wrap(buffer[..length].to_vec())).await;
            rest = rest.saturating_sub(length);
        }
        drop(process);
        // The receiver is gone only when the guest ends.
        let _ = moved.send(());
        while read(&fd, &mut buffer).await > 0 {}
    });
    done
}

/// 0 at the end. A terminal whose last user has gone reports an error instead of an end.
async fn read(fd: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> usize {
    let result: io::Result<usize> = fd
        .async_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut *buffer)?)
        })
        .await;
    result.unwrap_or(0)
}
