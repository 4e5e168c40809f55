//! Responses of HTTP/2 on their way to a client, and those that it does not take.
//!
//! Each stream has a window that its client opens as it likes, and hyper has no word for a stream that waits for that. It shows all
//! the same: hyper asks a body for more as soon as what it has may go. So a response whose body gave something, and was not
//! asked for more since, waits for its client. [`Held`] is the task of a request; it sees each turn of hyper's and what the body
//! did in it, and ends a request that the sweep finds late, which resets the stream.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Multiple;
use crate::body::Body as RequestBody;
use crate::count::{BoxError, CountedBody, Handling};
use crate::log;
use crate::registry::{Connection, Waiting};

/// What h2 is given at a time: a frame as clients take it unless they say otherwise. What it was given it keeps until the client
/// has taken it, without us; so this is also what a response may still hold when it is over for us.
const PIECE: usize = 16 * 1024;

/// What a body did last in the present turn of its task.
#[derive(Clone, Copy)]
enum Did {
    /// It was not asked.
    Nothing,
    Gave,
    /// It has nothing yet.
    Waits,
}

thread_local! {
    static DID: Cell<Did> = const { Cell::new(Did::Nothing) };
    /// Whose request hyper has just handed over. What it executes next, in the same turn, is the task of that.
    static BEGINS: Cell<Option<Arc<Connection>>> = const { Cell::new(None) };
}

/// The next task that hyper runs on this thread is one of a request on `connection`.
pub(super) fn task_begins(connection: &Arc<Connection>) {
    BEGINS.set(Some(Arc::clone(connection)));
}

pin_project! {
    /// The task of one request.
    pub(crate) struct Held<F> {
        // `None`: ended.
        #[pin]
        stream: Option<F>,
        // `None`: no request's, but that of a stream that the application has for good.
        connection: Option<Arc<Connection>>,
        // Once its response had to wait.
        waiting: Option<Arc<Waiting>>,
    }

    impl<F> PinnedDrop for Held<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let http2 = this.connection.as_ref().and_then(|connection| connection.http2.get());
            if let Some((http2, waiting)) = http2.zip(this.waiting.take()) {
                http2.held_back.leave(&waiting);
            }
        }
    }
}

impl<F> Held<F> {
    pub(crate) fn new(stream: F) -> Self {
        Self { stream: Some(stream), connection: BEGINS.take(), waiting: None }
    }
}

impl<F: Future<Output = ()>> Future for Held<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(stream) = this.stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        DID.set(Did::Nothing);
        if stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(connection) = this.connection else { return Poll::Pending };
        match DID.get() {
            Did::Nothing => {}
            Did::Waits => this.waiting.iter().for_each(|waiting| waiting.moved(1)),
            Did::Gave => {
                let Some(http2) = connection.http2.get() else { return Poll::Pending };
                let waiting = this.waiting.get_or_insert_with(|| http2.held_back.join());
                waiting.moved(1);
                waiting.waits(cx);
            }
        }
        if this.waiting.as_ref().is_some_and(|waiting| waiting.is_late()) {
            log::stream_ended("the client made no room for its response for write_timeout", connection.client());
            this.stream.set(None);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

pin_project! {
    /// A request with the application, whose response goes out in pieces.
    pub(crate) struct Answering<S>
    where
        S: Service<Request<RequestBody>>,
        S::Error: Into<BoxError>,
    {
        #[pin]
        handling: Handling<Multiple<S>>,
    }
}

impl<S> Answering<S>
where
    S: Service<Request<RequestBody>>,
    S::Error: Into<BoxError>,
{
    pub(super) const fn new(handling: Handling<Multiple<S>>) -> Self {
        Self { handling }
    }
}

impl<S, B> Future for Answering<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<Pieces<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(self.project().handling.poll(cx));
        Poll::Ready(Ok(response.map(|body| Pieces { body, rest: None })))
    }
}

pin_project! {
    /// A response's body in pieces, so that it is over for us when it is nearly over for the client, too.
    pub(crate) struct Pieces<B>
    where
        B: Body,
    {
        #[pin]
        body: CountedBody<B>,
        // Of what the body gave last.
        rest: Option<B::Data>,
    }
}

impl<B> Body for Pieces<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Piece<B::Data>;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        let this = self.project();
        if this.rest.is_none() {
            let Poll::Ready(frame) = this.body.poll_frame(cx) else {
                DID.set(Did::Waits);
                return Poll::Pending;
            };
            let Some(frame) = frame.transpose()? else { return Poll::Ready(None) };
            DID.set(Did::Gave);
            match frame.into_data() {
                Ok(data) if data.remaining() > PIECE => *this.rest = Some(data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(Piece::Whole(data))))),
                Err(frame) => {
                    return Poll::Ready(frame.into_trailers().ok().map(|trailers| Ok(Frame::trailers(trailers))));
                }
            }
        }
        DID.set(Did::Gave);
        let piece = this.rest.as_mut().map_or_else(Bytes::new, cut);
        this.rest.take_if(|rest| !rest.has_remaining());
        Poll::Ready(Some(Ok(Frame::data(Piece::Part(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.as_ref().map_or(0, |rest| rest.remaining() as u64));
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// The next piece. The last one is a copy, as it may outlive the request, and would keep all of the data in memory.
fn cut(data: &mut impl Buf) -> Bytes {
    if data.remaining() > PIECE {
        return data.copy_to_bytes(PIECE);
    }
    let mut last = Vec::with_capacity(data.remaining());
    bytes::BufMut::put(&mut last, data);
    last.into()
}

/// A piece of a response's data.
pub(crate) enum Piece<D> {
    Whole(D),
    Part(Bytes),
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        match self {
            Self::Whole(data) => data.remaining(),
            Self::Part(bytes) => bytes.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Whole(data) => data.chunk(),
            Self::Part(bytes) => bytes.chunk(),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Whole(data) => data.advance(count),
            Self::Part(bytes) => bytes.advance(count),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Whole(data) => data.chunks_vectored(slices),
            Self::Part(bytes) => bytes.chunks_vectored(slices),
        }
    }
}
