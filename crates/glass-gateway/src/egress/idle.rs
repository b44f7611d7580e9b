//! A stream that notes when something passed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection on which nothing passed for so long is closed.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// A stream whose reads and writes are noted.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

/// When something passed last.
pub(crate) struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<Activity>) {
        let activity = Arc::new(Activity {
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
        });
        let watched = Self {
            stream,
            activity: activity.clone(),
        };
        (watched, activity)
    }
}

impl Activity {
    fn note(&self) {
        let passed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    /// Ready when nothing passed for that long.
    pub(crate) async fn idle(&self, limit: Duration) {
        loop {
            let last = self.last_ms.load(Ordering::Relaxed);
            tokio::time::sleep_until(self.began + Duration::from_millis(last) + limit).await;
            if self.last_ms.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            self.activity.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if polled.is_ready() {
            self.activity.note();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_puts_the_end_off() {
        let (near, mut far) = tokio::io::duplex(16);
        let (mut watched, activity) = Watched::new(near);
        let began = Instant::now();
        let idle = tokio::spawn(async move {
            activity.idle(IDLE_LIMIT).await;
            began.elapsed()
        });
        tokio::time::sleep(IDLE_LIMIT / 2).await;
        watched.write_all(b"x").await.unwrap();
        tokio::time::sleep(IDLE_LIMIT / 2).await;
        far.write_all(b"y").await.unwrap();
        watched.read_exact(&mut [0]).await.unwrap();
        assert!(idle.await.unwrap() >= IDLE_LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let (watched, activity) = Watched::new(tokio::io::duplex(16).0);
        let began = Instant::now();
        activity.idle(IDLE_LIMIT).await;
        assert_eq!(began.elapsed(), IDLE_LIMIT);
        drop(watched);
    }
}
