//! `handler = "hello"`: answers `GET /` with `Hello World!`; on request some answers fail or take their time. It counts what
//! it is asked for as a metric of its own, as an example.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use opentelemetry::metrics::{BoundCounter, Meter};
use rustcorn_config::{App, Origin, Problem, Problems};
use serde::Deserialize;
use tokio::time::Sleep;
use tower_service::Service;

use crate::Route;

/// Overrides `chaos_percent`.
const CHAOS_VARIABLE: &str = "CHAOS_TARGET_PERCENT";

/// Keys of `[app]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Share of requests that are answered with a random status from 400 to 500.
    chaos_percent: Percent,
    /// Time before each answer, in milliseconds.
    delay_ms: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "i64")]
struct Percent(u8);

impl TryFrom<i64> for Percent {
    type Error = String;
    fn try_from(number: i64) -> Result<Self, String> {
        let percent = u8::try_from(number).ok().filter(|percent| *percent <= 100);
        percent.map(Self).ok_or_else(|| format!("{number} is not allowed; use a number from 0 to 100"))
    }
}

impl Config {
    pub(super) fn read(app: &App) -> Result<Self, Problems> {
        app.read::<Self>()?.with_chaos(std::env::var(CHAOS_VARIABLE).ok().as_deref())
    }

    fn with_chaos(mut self, variable: Option<&str>) -> Result<Self, Problems> {
        if let Some(text) = variable {
            let refused = || format!("{text:?} is not allowed; use a number from 0 to 100");
            let percent = text.trim().parse::<i64>().map_err(|_| refused()).and_then(Percent::try_from);
            self.chaos_percent = percent.map_err(|text| {
                let origin = Origin::Environment { variable: CHAOS_VARIABLE.to_owned(), flag: None };
                Problem::new(origin, "app.chaos_percent", &text)
            })?;
        }
        Ok(self)
    }
}

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    config: Config,
    /// Requests for `/`.
    requests: BoundCounter<u64>,
}

impl Hello {
    pub(super) fn new(config: Config, meter: &Meter) -> Self {
        let requests = meter
            .u64_counter("rustcorn_app_hello_requests")
            .with_unit("{request}")
            .with_description("Requests for the page that says hello.")
            .build();
        Self { config, requests: requests.bind(&super::labels()) }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if path == "/" {
            Route::new("/").set();
            self.requests.add(1);
        }
        if self.config.chaos_percent.0 > 0 && fastrand::u8(0..100) < self.config.chaos_percent.0 {
            let status = StatusCode::from_u16(fastrand::u16(400..=500)).expect("400 to 500 are statuses");
            return text(status, "Chaos\n");
        }
        match *method {
            _ if path != "/" => text(StatusCode::NOT_FOUND, "Not Found\n"),
            Method::GET | Method::HEAD => text(StatusCode::OK, "Hello World!"),
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl<B> Service<Request<B>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let delay = Duration::from_millis(self.config.delay_ms.into());
        #[expect(clippy::disallowed_methods, reason = "the delay is the feature; it ends early when the client leaves")]
        let delay = (!delay.is_zero()).then(|| Box::pin(tokio::time::sleep(delay)));
        Answer { delay, response: Some(self.answer(request.method(), request.uri().path())) }
    }
}

/// The answer, after the delay if there is one.
#[derive(Debug)]
pub(super) struct Answer {
    delay: Option<Pin<Box<Sleep>>>,
    response: Option<Response<Full<Bytes>>>,
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(delay) = &mut self.delay {
            ready!(delay.as_mut().poll(cx));
        }
        Poll::Ready(Ok(self.response.take().expect("a future that is done is not polled again")))
    }
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
