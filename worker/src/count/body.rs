//! The response's body on its way from the application to hyper, counted.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{BoxError, Failure, Ticket};
use crate::panics::contained;
use crate::telemetry::Trouble;

pin_project! {
    /// The application's response body, counted.
    pub(crate) struct CountedBody<B>
    where
        B: Body,
    {
        ticket: Ticket,
        // `None`: empty, or failed.
        #[pin]
        body: Option<B>,
        // Bytes that the client has still to get; `None` where that is not known beforehand, or nobody asks.
        left: Option<u64>,
    }

    impl<B> PinnedDrop for CountedBody<B>
    where
        B: Body,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // hyper drops a body that it has sent, and one whose client has gone.
            if this.ticket.0.observed.is_some()
                && *this.left != Some(0)
                && this.body.as_ref().get_ref().as_ref().is_some_and(|body| !body.is_end_stream())
            {
                this.ticket.troubled(Trouble::Disconnect);
            }
        }
    }
}

impl<B: Body> CountedBody<B> {
    pub(super) const fn new(ticket: Ticket, body: Option<B>, left: Option<u64>) -> Self {
        Self { ticket, body, left }
    }
}

impl<B> Body for CountedBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    #[inline(always)] // as Ticket::open
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let since = this.ticket.poll_begins();
        let shown = this.ticket.show(since);
        let attached = this.ticket.attach();
        let polled = contained(|| body.poll_frame(cx)); // as in Handling
        drop((attached, shown));
        let why = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(None)) => {
                *this.left = Some(0);
                return Poll::Ready(None);
            }
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.remaining() as u64);
                this.ticket.0.bytes += bytes;
                *this.left = this.left.map(|left| left.saturating_sub(bytes));
                return Poll::Ready(Some(Ok(frame)));
            }
            Ok(Poll::Ready(Some(Err(error)))) => Failure::error(Trouble::Body, error),
            Err(panic) => panic.into(),
        };
        // The head is out, so the client can only be told by a connection that breaks off.
        this.ticket.failed("response body: ", &why);
        this.body.set(None);
        Poll::Ready(Some(Err(why.words.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// How much of the body hyper sends, where the response says so.
pub(super) fn length<B: Body>(response: &Response<Option<B>>) -> Option<u64> {
    let told = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    told.or_else(|| response.body().as_ref().and_then(|body| body.size_hint().exact()))
}
