//! The bodies that pass through the edge. None is ever collected.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::Held;
use crate::pool::Lease;

/// What can go wrong in a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body on its way to an app. A request without one can be sent twice.
pub(crate) type ToApp = Either<Incoming, Empty<Bytes>>;

/// A body of an answer that does not come from Glasshouse's own routes.
#[derive(Debug)]
pub(crate) enum FromEdge {
    /// An app's answer.
    App(Leased),
    /// A page of the edge.
    Page(Full<Bytes>),
    /// Events of the edge, for a page that waits.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for FromEdge {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::App(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Page(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Events(events) => events
                .poll_recv(cx)
                .map(|event| event.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::App(body) => body.is_end_stream(),
            Self::Page(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::App(body) => body.size_hint(),
            Self::Page(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// An app's answer that gives its connection back when it was read to the end, and holds its sandbox awake until then.
///
/// This happens on drop, because a server stops polling a body whose announced length it has seen.
pub(crate) struct Leased {
    body: Incoming,
    lease: Option<Lease>,
    finished: bool,
    _held: Box<dyn Held>,
}

impl Leased {
    pub(crate) fn new(body: Incoming, lease: Lease, held: Box<dyn Held>) -> Self {
        Self {
            body,
            lease: Some(lease),
            finished: false,
            _held: held,
        }
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.finished = true;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        let finished = self.finished || self.body.is_end_stream();
        if let (true, Some(lease)) = (finished, self.lease.take()) {
            lease.give_back();
        }
    }
}
