use std::io;

use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::guard::Reason;

fn all(body: Body) -> Result<Bytes, BodyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(body.collect()).map(http_body_util::Collected::to_bytes)
}

#[test]
fn a_body_of_bytes_is_known_beforehand_and_read_once() {
    for body in [Body::from("four"), Body::from(vec![b'f', b'o', b'u', b'r']), Body::new(Full::from("four"))] {
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(4)), "{body:?}");
        assert_eq!(all(body).unwrap(), "four");
    }
    for body in [Body::empty(), Body::from(()), Body::from(""), Body::new(Full::<Bytes>::default())] {
        assert_eq!((body.is_end_stream(), body.size_hint().exact()), (true, Some(0)), "{body:?}");
        assert_eq!(all(body).unwrap(), "");
    }
}

#[test]
fn it_goes_wherever_a_service_may_take_it() {
    fn is<T: Send + Sync + Unpin + 'static>() {}
    is::<Body>();
    is::<BodyError>();
}

/// Nothing but an error.
struct Fails<E>(Option<E>);

impl<E: Into<BoxError> + Unpin> http_body::Body for Fails<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

#[test]
fn an_error_says_which_limit() {
    let error = all(Body::new(Fails(Some(BodyError::from(Reason::BodyTooLarge))))).unwrap_err();
    assert!(error.is_too_large() && !error.is_timeout() && !error.is_disconnect());
    assert_eq!(error.status().map(|status| status.as_u16()), Some(413));
    assert_eq!(error.to_string(), "body over max_body_size (RFC 9110, 15.5.14)");
    assert!(BodyError::from(Reason::BodyTimeout).is_timeout());
    let other = all(Body::new(Fails(Some(io::Error::other("elsewhere"))))).unwrap_err();
    assert_eq!((other.status(), other.to_string().as_str()), (None, "elsewhere"));
}
