//! Why a request's body cannot be read to its end.

use std::error::Error;
use std::{fmt, io};

use http::StatusCode;

use crate::count::BoxError;
use crate::guard::Reason;

/// Why a request's body cannot be read to its end.
///
/// A body that is refused is answered by the server, whatever the application makes of the error, unless its response has begun:
/// with 413 if [`is_too_large`](Self::is_too_large), 408 if [`is_timeout`](Self::is_timeout), and in general with
/// [`status`](Self::status). It is counted and logged, too, so there is nothing to do but to give up.
pub struct BodyError(Cause);

enum Cause {
    Refused(Reason),
    Hyper(hyper::Error),
    Other(BoxError),
}

impl BodyError {
    /// The body is larger than the setting `max_body_size` allows.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.reason() == Some(Reason::BodyTooLarge)
    }

    /// The client sent nothing for `body_timeout`, or less than `body_min_rate` allows.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.reason() == Some(Reason::BodyTimeout)
    }

    /// The client left, or took the request back, before all of the body was here.
    #[must_use]
    pub const fn is_disconnect(&self) -> bool {
        matches!(self.0, Cause::Hyper(_))
    }

    /// What the client is answered for a body that is refused; `None` where nobody is there to be answered.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.reason().map(Reason::status)
    }

    const fn reason(&self) -> Option<Reason> {
        match self.0 {
            Cause::Refused(reason) => Some(reason),
            Cause::Hyper(_) | Cause::Other(_) => None,
        }
    }

    /// An error of any other body, which may have been one of ours before.
    pub(super) fn of(error: impl Into<BoxError>) -> Self {
        match error.into().downcast::<Self>() {
            Ok(error) => *error,
            Err(other) => Self(Cause::Other(other)),
        }
    }

    /// What hyper says. A refusal of the guard comes through it as what the stream under hyper had to say.
    #[cold]
    pub(super) fn of_hyper(error: hyper::Error) -> Self {
        let by_stream = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let reason = by_stream.and_then(|error| error.get_ref()?.downcast_ref::<Reason>().copied());
        Self(reason.map_or(Cause::Hyper(error), Cause::Refused))
    }
}

impl From<Reason> for BodyError {
    fn from(reason: Reason) -> Self {
        Self(Cause::Refused(reason))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Refused(reason) => reason.fmt(f),
            Cause::Hyper(error) => error.fmt(f),
            Cause::Other(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Refused(reason) => f.debug_tuple("BodyError").field(reason).finish(),
            Cause::Hyper(error) => f.debug_tuple("BodyError").field(error).finish(),
            Cause::Other(error) => f.debug_tuple("BodyError").field(error).finish(),
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Cause::Refused(_) => None,
            Cause::Hyper(error) => error.source(),
            Cause::Other(error) => error.source(),
        }
    }
}
