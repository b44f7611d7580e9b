//! Hearing a client out before its connection is closed.
//!
//! Whoever is answered before its request has ended, because that is too large, say, may still be sending. The kernel
//! resets a connection that is closed while bytes come, and the client may never see the answer. So what it goes on to
//! send is read and forgotten for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a client may go on.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much it may send meanwhile.
const MOST: usize = 64 << 20;
const BUFFER: usize = 16 << 10;

/// A stream that comes back when it is dropped before the client has ended it.
#[derive(Debug)]
pub(crate) struct Lent<T> {
    /// There until it is dropped.
    stream: Option<T>,
    back: Option<oneshot::Sender<T>>,
}

impl<T> Lent<T> {
    pub(crate) fn new(stream: T) -> (Self, oneshot::Receiver<T>) {
        let (back, returned) = oneshot::channel();
        let lent = Self {
            stream: Some(stream),
            back: Some(back),
        };
        (lent, returned)
    }
}

impl<T: Unpin> Lent<T> {
    fn stream(&mut self) -> Pin<&mut T> {
        Pin::new(self.stream.as_mut().expect("it is there until the drop"))
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits for one that was upgraded.
            back.send(stream).ok();
        }
    }
}

/// Reads and forgets what a client still sends after it was answered, within bounds.
pub(crate) async fn linger<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T) {
    let reading = async {
        stream.shutdown().await?;
        let (mut buffer, mut read) = (vec![0; BUFFER], 0);
        while read < MOST {
            match stream.read(&mut buffer).await? {
                0 => break,
                more => read += more,
            }
        }
        io::Result::Ok(())
    };
    // A client that is gone is as good as one that has ended.
    timeout(PATIENCE, reading).await.ok();
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.stream().poll_read(cx, into);
        let is_over = match &read {
            Poll::Ready(Ok(())) => into.filled().len() == before && into.remaining() > 0,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if is_over {
            self.back = None;
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}
