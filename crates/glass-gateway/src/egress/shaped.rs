//! A connection to the outside that keeps to its sandbox's bandwidth and is counted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::control::{Counters, EgressControl};

pub(super) struct Shaped<S> {
    stream: S,
    control: Arc<EgressControl>,
    totals: Arc<Counters>,
    /// Until when nothing is read, and nothing written.
    read_wait: Wait,
    write_wait: Wait,
}

#[derive(Default)]
struct Wait(Option<Pin<Box<Sleep>>>);

impl Wait {
    fn until(&mut self, time: Option<Instant>) {
        self.0 = time.map(|time| Box::pin(sleep_until(time)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            ready!(sleep.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl<S> Shaped<S> {
    pub(super) fn new(stream: S, control: Arc<EgressControl>, totals: Arc<Counters>) -> Self {
        Self {
            stream,
            control,
            totals,
            read_wait: Wait::default(),
            write_wait: Wait::default(),
        }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + Unpin> AsyncRead for Shaped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.read_wait.poll(cx));
        let room = buffer.remaining().min(this.control.received.piece());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        let length = part.filled().len();
        buffer.advance(length);
        this.control
            .counters
            .received
            .fetch_add(count(length), Ordering::Relaxed);
        this.totals
            .received
            .fetch_add(count(length), Ordering::Relaxed);
        this.read_wait.until(this.control.received.passed(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shaped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.write_wait.poll(cx));
        let bytes = &bytes[..bytes.len().min(this.control.sent.piece())];
        let length = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.control
            .counters
            .sent
            .fetch_add(count(length), Ordering::Relaxed);
        this.totals.sent.fetch_add(count(length), Ordering::Relaxed);
        this.write_wait.until(this.control.sent.passed(length));
        Poll::Ready(Ok(length))
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
    use std::time::Duration;

    use glass_types::EgressPolicy;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const RATE: u64 = 100_000;

    fn control() -> Arc<EgressControl> {
        Arc::new(EgressControl::new(EgressPolicy::Open, RATE))
    }

    fn shaped<S>(stream: S, control: &Arc<EgressControl>) -> Shaped<S> {
        Shaped::new(stream, Arc::clone(control), Arc::default())
    }

    /// Virtual time: nothing here depends on how fast the machine is.
    #[tokio::test(start_paused = true)]
    async fn each_direction_keeps_to_the_rate_by_itself() {
        let control = control();
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut near = shaped(near, &control);
        let (mut far_read, mut far_write) = tokio::io::split(far);
        far_write.write_all(&[1; 200_000]).await.unwrap();
        let began = Instant::now();
        let (mut near_read, mut near_write) = tokio::io::split(&mut near);
        let mut received = vec![0; 200_000];
        let mut sent = vec![0; 200_000];
        let (a, b, c) = tokio::join!(
            near_read.read_exact(&mut received),
            near_write.write_all(&[2; 200_000]),
            far_read.read_exact(&mut sent),
        );
        a.unwrap();
        b.unwrap();
        c.unwrap();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1700), "{took:?}");
        assert!(took < Duration::from_millis(2200), "{took:?}");
        let counts = control.counts();
        assert_eq!(
            (counts.sent_bytes, counts.received_bytes),
            (200_000, 200_000)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_a_sandbox_share_its_rate_evenly() {
        let control = control();
        let mut readers = Vec::new();
        for _ in 0..4 {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            far.write_all(&[1; 100_000]).await.unwrap();
            let mut near = shaped(near, &control);
            readers.push(tokio::spawn(async move {
                let began = Instant::now();
                near.read_exact(&mut vec![0; 100_000]).await.unwrap();
                began.elapsed()
            }));
        }
        for reader in readers {
            let took = reader.await.unwrap();
            assert!(took > Duration::from_millis(3500), "{took:?}");
            assert!(took < Duration::from_millis(4200), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_sandbox_is_not_slowed() {
        let (busy, other) = (control(), control());
        let (near, _far) = tokio::io::duplex(1 << 20);
        let mut near = shaped(near, &busy);
        tokio::spawn(async move { near.write_all(&[1; 1_000_000]).await });
        tokio::task::yield_now().await;
        let (near, _far) = tokio::io::duplex(1 << 20);
        let began = Instant::now();
        shaped(near, &other).write_all(&[1; 5_000]).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
