//! The body of a request of HTTP/2 on its way to the application. HTTP/1's bodies are held to the same limits by the guard, which
//! sees their bytes before hyper does; here this is the first place that sees any.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::guard::Reason;
use crate::registry::{Connection, Waiting};

/// What a request's body and its response know of each other.
#[derive(Default)]
pub(crate) struct Exchange {
    fault: OnceLock<Reason>,
    answered: AtomicBool,
}

impl Exchange {
    /// Why the body is refused.
    pub(crate) fn fault(&self) -> Option<Reason> {
        self.fault.get().copied()
    }

    /// The response begins; why the body is refused, if it was before.
    pub(crate) fn answered(&self) -> Option<Reason> {
        self.answered.store(true, Relaxed);
        self.fault()
    }
}

/// The body.
pub(crate) struct Streamed {
    /// `None`: over, or refused.
    incoming: Option<Incoming>,
    /// Bytes that may still come.
    left: u64,
    connection: Arc<Connection>,
    exchange: Arc<Exchange>,
    /// Once it had to wait.
    waiting: Option<Arc<Waiting>>,
}

impl Streamed {
    pub(super) fn new(incoming: Incoming, connection: &Arc<Connection>) -> (Self, Arc<Exchange>) {
        let (connection, exchange) = (Arc::clone(connection), Arc::<Exchange>::default());
        connection.http2.get().inspect(|http2| http2.body_begins());
        let left = connection.shared.policy.rules.body();
        (Self { incoming: Some(incoming), left, connection, exchange: Arc::clone(&exchange), waiting: None }, exchange)
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.came(frame))),
            Poll::Ready(Some(Err(error))) => {
                self.over();
                Poll::Ready(Some(Err(BodyError::of_hyper(error))))
            }
            Poll::Ready(None) => {
                self.over();
                Poll::Ready(None)
            }
            // A response that has begun makes it a conversation, in which a client may wait for its turn.
            Poll::Pending if self.starves(cx) && !self.exchange.answered.load(Relaxed) => {
                Poll::Ready(Some(Err(self.refuse(Reason::BodyTimeout))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn came(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let bytes = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        if bytes > self.left {
            return Err(self.refuse(Reason::BodyTooLarge));
        }
        self.left -= bytes;
        // A frame of nothing is no progress.
        if let Some(waiting) = self.waiting.as_ref().filter(|_| bytes > 0) {
            waiting.moved(bytes);
        }
        if let Some(trailers) = frame.trailers_mut()
            && let Err(reason) = self.connection.shared.policy.rules.trailers(trailers)
        {
            return Err(self.refuse(reason));
        }
        Ok(frame)
    }

    /// There is room for more. Whether the client took too long for that already.
    fn starves(&mut self, cx: &Context<'_>) -> bool {
        let Some(http2) = self.connection.http2.get() else { return false };
        self.waiting.get_or_insert_with(|| http2.starving.join()).waits(cx)
    }

    #[cold]
    fn refuse(&mut self, reason: Reason) -> BodyError {
        if self.exchange.fault.set(reason).is_ok() {
            self.connection.body_refused(reason);
        }
        self.over();
        reason.into()
    }

    /// No more comes, or nobody wants it: h2 then has the memory back, and tells the client when the response is out.
    fn over(&mut self) {
        let Some(http2) = self.incoming.take().and(self.connection.http2.get()) else { return };
        http2.body_ends();
        if let Some(waiting) = self.waiting.take() {
            http2.starving.leave(&waiting);
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.over();
    }
}
