//! A function in hyper's style, with state that only one thread has.

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use rustcorn::{Body, BoxError};

fn main() -> ExitCode {
    rustcorn::run(|_ctx| async {
        let count = Rc::new(Cell::new(0));
        Ok(tower::service_fn(move |request: Request<Body>| {
            let count = Rc::clone(&count);
            async move {
                let body = request.into_body().collect().await?.to_bytes();
                count.set(count.get() + 1);
                Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(format!("{} {}", count.get(), body.len()))))
            }
        }))
    })
}
