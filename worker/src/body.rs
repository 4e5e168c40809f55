//! The body of a request, as applications get it.
//!
//! A type of our own, so that what users write does not name hyper's, and so that the limits of bodies have one place. Where there is
//! no body, or the guard has measured it already (HTTP/1), it is hyper's and nothing else: no allocation, no call through a pointer.

mod error;
mod streamed;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

pub use error::BodyError;
pub(crate) use streamed::Exchange;
use streamed::Streamed;

use crate::count::BoxError;
use crate::registry::Connection;

/// The body of a request.
///
/// It is read as any [`http_body::Body`], for example with `http_body_util::BodyExt`. axum, tonic and tower-http take it as it is.
/// An error says why there is no more of it, see [`BodyError`].
///
/// For tests and for middleware, one can be made of bytes, of text, and of any other body:
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// use http_body::Body as _;
///
/// assert!(rustcorn::Body::empty().is_end_stream());
/// assert_eq!(rustcorn::Body::from("four").size_hint().exact(), Some(4));
/// ```
#[must_use = "a body does nothing unless it is polled"]
#[derive(Default)]
pub struct Body(Kind);

enum Kind {
    /// From a client.
    Incoming(Incoming),
    /// From a client of HTTP/2.
    Streamed(Box<Streamed>),
    /// In memory; empty at its end.
    Whole(Bytes),
    /// Another body. The lock makes it `Sync` and is never waited for.
    Other(Mutex<Boxed>),
}

type Boxed = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

impl Default for Kind {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Any other body as one of a request.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Kind::Other(Mutex::new(Box::pin(Converted(Box::pin(body))))))
    }

    /// A body on which no limit of ours holds any more.
    #[inline]
    pub(crate) const fn plain(body: Incoming) -> Self {
        Self(Kind::Incoming(body))
    }

    /// A body of HTTP/2, and what its response has to know of it.
    pub(crate) fn streamed(body: Incoming, connection: &Arc<Connection>) -> (Self, Arc<Exchange>) {
        let (body, exchange) = Streamed::new(body, connection);
        (Self(Kind::Streamed(Box::new(body))), exchange)
    }
}

fn lock(other: &Mutex<Boxed>) -> MutexGuard<'_, Boxed> {
    other.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Incoming(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::of_hyper),
            Kind::Streamed(body) => body.poll_frame(cx),
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Other(body) => body.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_frame(cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Incoming(body) => body.is_end_stream(),
            Kind::Streamed(body) => body.is_end_stream(),
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Other(body) => lock(body).is_end_stream(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Incoming(body) => body.size_hint(),
            Kind::Streamed(body) => body.size_hint(),
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Other(body) => lock(body).size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match &self.0 {
            Kind::Incoming(_) | Kind::Streamed(_) => "client",
            Kind::Whole(_) => "memory",
            Kind::Other(_) => "another body",
        };
        f.debug_struct("Body").field("from", &from).finish_non_exhaustive()
    }
}

macro_rules! from {
    ($($bytes:ty),*) => {$(
        impl From<$bytes> for Body {
            fn from(bytes: $bytes) -> Self {
                Self(Kind::Whole(Bytes::from(bytes)))
            }
        }
    )*};
}

from!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// Another body, with our errors.
struct Converted<B>(Pin<Box<B>>);

impl<B> http_body::Body for Converted<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.as_mut().poll_frame(cx).map_err(BodyError::of)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
