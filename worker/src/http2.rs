//! One connection that speaks HTTP/2. Its requests are tasks of their own, served at the same time.

mod requests;
mod response;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::http2::{Builder, Connection as Http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use rustcorn_config::Settings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use crate::body::Body as RequestBody;
use crate::count::{BoxError, chain};
pub(crate) use requests::{Judged, Multiple};
pub(crate) use response::{Answering, Held, Pieces};

use crate::io::Stream;
use crate::log;
use crate::registry::{Connection, Multiplexed, Phase};

/// A connection on which nothing has come for so long is asked whether anybody is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Time for the answer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests that a client took back before they were looked at, beyond which the connection ends ("rapid reset", CVE-2023-44487).
const RESET_UNSEEN: usize = 20;
/// Streams that we had to reset since the client breaks the protocol, beyond which the connection ends (RUSTSEC-2024-0003).
const RESET_BY_US: usize = 1024;
/// What one response may hold in memory for a client that reads slowly. hyper's own 400 KiB are 40 MB with 100 requests.
const SEND_BUFFER: usize = 64 * 1024;
/// What all requests of a connection together may hold of bodies that the application has not read.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The numbers of the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Http2Options {
    pub(crate) max_concurrent_streams: u32,
    pub(crate) initial_window_size: u32,
    pub(crate) max_frame_size: u32,
    pub(crate) max_header_list_size: u32,
    pub(crate) ping_every: Duration,
    pub(crate) ping_timeout: Duration,
}

impl Http2Options {
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            max_concurrent_streams: settings.http2_max_concurrent_streams,
            initial_window_size: settings.http2_initial_window_size,
            max_frame_size: settings.http2_max_frame_size,
            max_header_list_size: settings.http2_max_header_list_size,
            ping_every: PING_EVERY,
            ping_timeout: PING_TIMEOUT,
        }
    }

    const fn connection_window(&self) -> u32 {
        if self.initial_window_size > CONNECTION_WINDOW { self.initial_window_size } else { CONNECTION_WINDOW }
    }

    /// How many bodies may fill their windows so that the connection's has still room for another one.
    pub(crate) const fn unread(&self) -> usize {
        (self.connection_window() / self.initial_window_size) as usize - 1
    }

    /// HTTP/2 as all connections speak it. CONTINUATION frames are bounded by the size of the header list.
    pub(crate) fn builder<X: Clone>(&self, executor: X) -> Builder<X> {
        let mut builder = Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_concurrent_streams)
            .initial_stream_window_size(self.initial_window_size)
            .initial_connection_window_size(self.connection_window())
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(self.max_header_list_size)
            .max_pending_accept_reset_streams(RESET_UNSEEN)
            .max_local_error_reset_streams(RESET_BY_US)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(self.ping_every)
            .keep_alive_timeout(self.ping_timeout);
        builder
    }
}

pin_project! {
    /// The task of one connection.
    pub(crate) struct Serving2<S, X>
    where
        S: Service<Request<RequestBody>>,
        Judged<S>: hyper::service::HttpService<Incoming>,
    {
        #[pin]
        http: Http2<TokioIo<Progress>, Judged<S>, X>,
        connection: Arc<Connection>,
    }
}

impl<S, B, X> Serving2<S, X>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Http2ServerConnExec<Answering<S>, Pieces<B>>,
{
    /// Serves the plain bytes of a connection.
    pub(crate) fn new(protocol: &Builder<X>, unread: usize, stream: Stream, service: S) -> Self {
        let connection = Arc::clone(stream.connection());
        let first = connection.http2.set(Multiplexed::new(unread)).is_ok();
        debug_assert!(first, "a connection learns once what it speaks");
        let judged = Judged::new(service, &connection);
        Self { http: protocol.serve_connection(TokioIo::new(Progress(stream)), judged), connection }
    }
}

impl<S, B, X> Future for Serving2<S, X>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    X: Http2ServerConnExec<Answering<S>, Pieces<B>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            if this.connection.should_go_away() {
                // GOAWAY in two steps: what the client sends before it hears of the first is still served. Ends by itself.
                this.http.as_mut().graceful_shutdown();
                this.connection.goes_away();
            }
            match this.http.as_mut().poll(cx) {
                // The poll may have brought the first request of a connection that came in a drain.
                Poll::Pending if this.connection.should_go_away() => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Ready(Err(error)) => {
                    // Broken protocol, floods, clients that left: GOAWAY has told what can be told.
                    log::connection_ended(&chain(&error), None, this.connection.client(), None);
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// The stream under HTTP/2. A response may be on its way for long after its request is over for us, as h2 holds it back until the
/// client makes room: then the connection is not idle, and this is where that shows.
struct Progress(Stream);

/// PING, SETTINGS, WINDOW_UPDATE and GOAWAY are shorter; they go to and fro on an idle connection, too.
const WORTH_MENTIONING: usize = 64;

impl Progress {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let connection = self.0.connection();
        if matches!(polled, Poll::Ready(Ok(length)) if length > WORTH_MENTIONING) && connection.phase() == Phase::Idle {
            connection.enter_anew();
        }
        polled
    }
}

impl AsyncRead for Progress {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Progress {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.0).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
