//! HTTP/1.1 or HTTP/2, told from the first bytes of a connection.
//!
//! The detection of hyper-util waits for those bytes without a limit, so it is done here, under the caller's clock.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is clear what the client speaks. The stream that comes back starts at its beginning.
pub(crate) async fn sniff<T: AsyncRead + Unpin>(
    mut stream: T,
) -> io::Result<(Protocol, Rewound<T>)> {
    let mut start = [0; PREFACE.len()];
    let mut read = 0;
    while read < PREFACE.len() && start[..read] == PREFACE[..read] {
        match stream.read(&mut start[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    let protocol = if start == *PREFACE {
        Protocol::Http2
    } else {
        Protocol::Http1
    };
    let rewound = Rewound {
        start,
        given: 0,
        read,
        stream,
    };
    Ok((protocol, rewound))
}

/// A stream whose first bytes were looked at.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    start: [u8; PREFACE.len()],
    given: usize,
    read: usize,
    stream: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.given < self.read && into.remaining() > 0 {
            let end = self.read.min(self.given + into.remaining());
            into.put_slice(&self.start[self.given..end]);
            self.given = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_byte_comes_back_whatever_was_sent() {
        for (sent, protocol) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Protocol::Http2),
            (b"PRI * HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PRI", Protocol::Http1),
            (b"", Protocol::Http1),
        ] {
            let (seen, mut rewound) = sniff(sent).await.unwrap();
            let mut back = Vec::new();
            rewound.read_to_end(&mut back).await.unwrap();
            assert_eq!((seen, back.as_slice()), (protocol, sent));
        }
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_still_one() {
        let (mut client, server) = tokio::io::duplex(4);
        let send = async {
            tokio::io::AsyncWriteExt::write_all(&mut client, PREFACE)
                .await
                .unwrap();
        };
        let (_, sniffed) = tokio::join!(send, sniff(server));
        assert_eq!(sniffed.unwrap().0, Protocol::Http2);
    }
}
