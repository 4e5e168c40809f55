//! One connection of HTTP/1.1: a request, its answer, never two at a time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::connect::Stream;
use crate::engine::decoder::Decoder;
use crate::engine::failure::Failure;
use crate::engine::thread::Local;

pub(crate) struct Connection {
    stream: Stream,
    pub(crate) decoder: Decoder,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// Prepares for the answer to a request.
    pub(crate) fn begin(&mut self, to_head: bool, keep_body: bool) {
        self.decoder.begin(to_head, keep_body);
    }

    /// Whether another request can be sent: neither an end nor a byte has come since the last answer. No system call if the
    /// kernel has not said that there is something.
    pub(crate) async fn ready(&mut self, local: &Local) -> bool {
        poll_fn(|cx| {
            let mut buffer = local.buffer.borrow_mut();
            Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut buffer)).is_pending())
        })
        .await
    }

    /// Sends `request` and reads the answer to its last byte, which the decoder then describes.
    pub(crate) async fn exchange(
        &mut self,
        local: &Local,
        request: &[u8],
        mut field: impl FnMut(&str, &[u8]),
    ) -> Result<(), Failure> {
        let mut rest = request;
        let mut lost = None;
        poll_fn(|cx| {
            if let Some(error) = self.write(cx, &mut rest) {
                // The server may have said why before it hung up.
                lost = Some(error);
                rest = &[];
            }
            loop {
                let mut buffer = local.buffer.borrow_mut();
                let mut read = ReadBuf::new(&mut buffer);
                match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(Failure::exchange(lost.as_ref().unwrap_or(&error))));
                    }
                    Poll::Ready(Ok(())) if read.filled().is_empty() => {
                        let end = self.decoder.end();
                        return Poll::Ready(match &lost {
                            Some(error) => end.map_err(|_| Failure::exchange(error)),
                            None => end,
                        });
                    }
                    Poll::Ready(Ok(())) => {
                        self.decoder.feed(read.filled(), &mut field)?;
                        if self.decoder.done() {
                            return Poll::Ready(Ok(()));
                        }
                    }
                }
            }
        })
        .await?;
        if !rest.is_empty() {
            // Answered before all was sent: the rest would be taken for the next request.
            self.decoder.spoil();
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut Context<'_>, rest: &mut &[u8]) -> Option<io::Error> {
        while !rest.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => *rest = &rest[written..],
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Pending => return None,
            }
        }
        // Plain sockets have nothing to flush; TLS may hold records back.
        if matches!(self.stream, Stream::Tcp(_)) {
            return None;
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        }
    }

    /// Waits for the server to close the connection, as it has been asked to: who closes first keeps the port, and that is not
    /// to be this machine.
    pub(crate) async fn closed(&mut self, local: &Local) {
        poll_fn(|cx| {
            loop {
                let mut buffer = local.buffer.borrow_mut();
                let mut read = ReadBuf::new(&mut buffer);
                match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }
}
