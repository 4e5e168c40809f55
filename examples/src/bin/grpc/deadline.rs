//! Deadlines: a call has as long as its client says in `grpc-timeout`, to the begin of its response. tonic's transport does the
//! same, which is not used here.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};

#[derive(Clone)]
pub(crate) struct Deadline<S>(pub(crate) S);

impl<S, B> Service<http::Request<B>> for Deadline<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let time = request.headers().get("grpc-timeout").and_then(|value| time(value.to_str().ok()?));
        let call = self.0.call(request);
        Box::pin(async move {
            let Some(time) = time else { return call.await };
            let in_time = tokio::time::timeout(time, call).await;
            in_time.unwrap_or_else(|_| Ok(Status::deadline_exceeded("no response within grpc-timeout").into_http()))
        })
    }
}

/// At most eight digits and a unit.
fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u32 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(3600) * number,
        "M" => Duration::from_secs(60) * number,
        "S" => Duration::from_secs(1) * number,
        "m" => Duration::from_millis(1) * number,
        "u" => Duration::from_micros(1) * number,
        "n" => Duration::from_nanos(1) * number,
        _ => return None,
    })
}
