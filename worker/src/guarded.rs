//! The guard at work: the stream of an HTTP/1 connection as hyper sees it, without what the guard refuses.
//!
//! What is refused is answered here, when hyper has written all answers before it; to hyper the client then has no more to say. A bad
//! body, whose head hyper has already handed to the application, is an error for the application instead, and what is
//! answered is `count`'s business.
//!
//! A connection that ends before all was read is closed by half first: the kernel resets a closed connection when bytes
//! arrive, and a client that is reset may lose the answer that it has not read yet.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::SystemTime;

use rustcorn_sys::Monotonic;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::guard::{Fed, Guard, Reason, Refused};
use crate::registry::{Connection, Phase};

/// Bytes that are kept, at most, of what comes after a request that asks for an upgrade, until it is answered.
const AFTER_UPGRADE: usize = 16 * 1024;
/// Bytes that are read, and thrown away, from a client whose connection is being closed.
const LINGER: usize = 256 * 1024;

/// A plaintext stream and its guard.
pub(crate) struct Guarded<S: AsyncRead + AsyncWrite + Unpin> {
    inner: S,
    connection: Arc<Connection>,
    guard: Guard,
    /// Read, and not yet hyper's: a head that is not all here, or what comes after a message. Empty most of the time.
    stash: Vec<u8>,
    /// So many bytes of the stash are gone to hyper. It moves up only when more is added, so that a thousand small requests in
    /// it are not moved a thousand times.
    gone: usize,
    /// So many bytes after those may go to hyper.
    cleared: usize,
    /// The guard has not seen all of the rest.
    unseen: bool,
    refused: Option<(Refused, Monotonic)>,
    closing: Closing,
}

/// How far the end of a connection is.
enum Closing {
    Open,
    /// The last answer is on its way, from this byte on.
    Answering(Vec<u8>, usize),
    /// Our side is to be closed.
    Half,
    /// Reads what still comes, at most so many bytes.
    Lingering(usize),
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    pub(crate) fn new(inner: S, connection: Arc<Connection>) -> Self {
        let (trusted, fault) = (connection.believed(), connection.proxy_fault());
        let mut guarded = Self {
            inner,
            connection,
            guard: Guard::new(trusted),
            stash: Vec::new(),
            gone: 0,
            cleared: 0,
            unseen: false,
            refused: None,
            closing: Closing::Open,
        };
        if let Some(reason) = fault {
            guarded.refuse(Refused { reason, in_body: false });
        }
        guarded
    }

    /// Reads straight into hyper's buffer, as nearly always.
    #[inline]
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.fill(cx, buf)?.is_pending() {
            return self.starved(cx);
        }
        if buf.filled().len() == before || self.guard.over() {
            return self.ended(cx, buf.filled().len() == before);
        }
        let fed = self.feed(&mut buf.filled_mut()[before..]);
        let (pass, len) = (before + fed.pass, before + fed.len);
        if pass < len {
            self.keep(&buf.filled()[pass..len], fed.refused.is_none());
        }
        buf.set_filled(pass);
        if fed.pass > 0 { Poll::Ready(Ok(())) } else { self.read_more(cx, buf) }
    }

    /// As [`Self::read`], where there is a stash, or something is not as usual.
    #[cold]
    fn read_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.cleared > 0 {
                self.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some((refused, _)) = self.refused {
                return self.refuse_more(cx, refused);
            }
            if self.guard.asked() {
                match self.connection.phase() {
                    Phase::InRequest => return self.wait_for_answer(cx, buf),
                    phase => self.guard.decided(phase == Phase::Upgraded),
                }
            }
            if std::mem::take(&mut self.unseen) {
                let mut stash = std::mem::take(&mut self.stash);
                let fed = self.feed(&mut stash[self.gone..]);
                stash.truncate(self.gone + fed.len);
                (self.stash, self.cleared) = (stash, fed.pass);
                self.unseen = fed.pass > 0 && fed.pass < fed.len;
                continue;
            }
            if self.stash.is_empty() {
                return self.read(cx, buf);
            }
            let before = buf.filled().len();
            if self.fill(cx, buf)?.is_pending() {
                return self.starved(cx);
            }
            if buf.filled().len() == before {
                return self.ended(cx, true);
            }
            self.keep(&buf.filled()[before..], true);
            buf.set_filled(before);
        }
    }

    /// Moves bytes that are cleared to hyper's buffer.
    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let fits = self.cleared.min(buf.remaining());
        buf.put_slice(&self.stash[self.gone..self.gone + fits]);
        self.cleared -= fits;
        self.gone += fits;
        if self.gone == self.stash.len() {
            (self.stash, self.gone) = (Vec::new(), 0); // an idle connection has none
        }
    }

    #[cold]
    fn keep(&mut self, bytes: &[u8], unseen: bool) {
        self.stash.drain(..std::mem::take(&mut self.gone));
        self.stash.extend_from_slice(bytes);
        self.unseen = unseen;
    }

    #[inline]
    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> io::Result<Poll<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(result) => result.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    #[inline]
    fn feed(&mut self, bytes: &mut [u8]) -> Fed {
        let in_body = self.guard.in_body();
        let shared = &self.connection.shared;
        let fed = self.guard.feed(bytes, &shared.policy.rules);
        if in_body || self.guard.in_body() {
            self.connection.body_came(fed.pass as u64, self.guard.in_body());
        }
        if self.connection.believed() {
            self.connection.set_marks(self.guard.marks());
        }
        if let Some(refused) = fed.refused {
            self.refuse(refused);
        }
        fed
    }

    /// No bytes now.
    fn starved(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.guard.in_body() {
            if self.connection.body_starves() {
                let refused = Refused { reason: Reason::BodyTimeout, in_body: true };
                self.refuse(refused);
                return self.refuse_more(cx, refused);
            }
        } else if !self.stash.is_empty() {
            self.head_begins();
        }
        Poll::Pending
    }

    /// A part of a head is here. Its time counts from now, or from the end of the request before it.
    #[cold]
    fn head_begins(&self) {
        self.connection.bytes_arrived();
        if self.connection.phase() == Phase::InRequest {
            self.connection.wake_when_quiet();
        }
    }

    /// The stream has no more, or has bytes that are nobody's business but the application's.
    #[cold]
    fn ended(&mut self, cx: &mut Context<'_>, no_more: bool) -> Poll<io::Result<()>> {
        if let Some((refused, _)) = self.refused {
            return self.refuse_more(cx, refused);
        }
        // Not the client's end, but ours.
        let over_time = no_more && self.connection.close_requested() && self.connection.phase() == Phase::ReadingHead;
        if over_time && !self.stash.is_empty() {
            let refused = Refused { reason: Reason::HeaderTimeout, in_body: false };
            self.refuse(refused);
            return self.refuse_more(cx, refused);
        }
        Poll::Ready(Ok(()))
    }

    /// Notes a refusal, and tells of it.
    #[cold]
    fn refuse(&mut self, refused: Refused) {
        let Refused { reason, in_body } = refused;
        self.refused = Some((refused, Monotonic::now()));
        if in_body {
            self.connection.body_failed(reason);
        }
        self.connection.refused(reason, Some(reason.status()));
    }

    /// What hyper reads from now on: an error in a body; instead of a head the end, once all is said.
    fn refuse_more(&mut self, cx: &mut Context<'_>, refused: Refused) -> Poll<io::Result<()>> {
        if refused.in_body {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refused.reason)));
        }
        // An end while a request is in flight would be that request's end.
        if !self.connection.is_quiet() && matches!(self.closing, Closing::Open) {
            return self.hold();
        }
        // Here, and not when hyper closes: after a request that asked for an upgrade in vain it does not.
        self.close(cx)
    }

    /// Waits until the request in flight is answered.
    fn hold(&self) -> Poll<io::Result<()>> {
        self.connection.wake_when_quiet();
        Poll::Pending
    }

    /// Bytes after a request that asks for an upgrade are for whoever gets the connection. Read to see if the client leaves.
    fn wait_for_answer(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let before = buf.filled().len();
            let room = AFTER_UPGRADE.saturating_sub(self.stash.len());
            if room == 0 || self.fill(cx, buf)?.is_pending() {
                return self.hold();
            }
            if buf.filled().len() == before {
                return self.ended(cx, true);
            }
            self.keep(&buf.filled()[before..], true);
            buf.set_filled(before);
        }
    }

    /// The last answer, if one is due, counted.
    fn last_answer(&self) -> Option<Vec<u8>> {
        let (refused, since) = self.refused.filter(|(refused, _)| !refused.in_body)?;
        let (status, text) = (refused.reason.status(), refused.reason.to_string());
        let mut answer = Vec::with_capacity(256);
        #[expect(clippy::disallowed_methods, reason = "a Date header is a time of day")]
        let date = httpdate::fmt_http_date(SystemTime::now());
        let written = write!(
            answer,
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\
             date: {date}\r\n\r\n{text}\n",
            text.len() + 1
        );
        written.expect("memory takes all");
        let (shared, bytes) = (&self.connection.shared, text.len() as u64 + 1);
        if let Some(log) = shared.access() {
            log.refused(&self.stash[self.gone..], status, bytes, since, &self.connection);
        }
        let writer = &shared.writer;
        writer.request_started();
        writer.request_finished(status.as_u16(), Monotonic::now().since(since), bytes);
        Some(answer)
    }

    /// Whether the client may still be sending.
    fn is_to_linger(&self) -> bool {
        self.refused.is_some() || !self.guard.between_messages() || !self.stash.is_empty()
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.closing = match &mut self.closing {
                Closing::Open => match self.last_answer() {
                    Some(answer) => Closing::Answering(answer, 0),
                    None => Closing::Half,
                },
                Closing::Answering(answer, at) if *at < answer.len() => {
                    *at += ready!(Pin::new(&mut self.inner).poll_write(cx, &answer[*at..]))?;
                    continue;
                }
                Closing::Answering(..) => {
                    ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
                    Closing::Half
                }
                Closing::Half => {
                    ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
                    if self.guard.over() || !self.is_to_linger() {
                        Closing::Closed
                    } else {
                        self.connection.enter(Phase::Lingering, None);
                        Closing::Lingering(LINGER)
                    }
                }
                Closing::Lingering(_) if self.connection.close_requested() => Closing::Closed,
                Closing::Lingering(left) => {
                    let mut bytes = [std::mem::MaybeUninit::uninit(); 4096];
                    let mut buf = ReadBuf::uninit(&mut bytes);
                    let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
                    match buf.filled().len() {
                        n if read.is_ok() && n > 0 && n < *left => Closing::Lingering(*left - n),
                        _ => Closing::Closed,
                    }
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            };
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Guarded<S> {
    /// hyper does not close a connection on which an upgrade was refused. TCP's end comes by itself, TLS's has to be said.
    fn drop(&mut self) {
        let silent = matches!(self.closing, Closing::Open) && self.connection.tls.get().is_some();
        if silent && self.connection.phase() == Phase::Idle && self.connection.is_quiet() {
            // There is room for it, or nobody to wait for that.
            let _ = Pin::new(&mut self.inner).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let as_usual = this.stash.is_empty() && this.refused.is_none() && !this.guard.asked();
        if as_usual { this.read(cx, buf) } else { this.read_more(cx, buf) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().close(cx)
    }
}
