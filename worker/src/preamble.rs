//! The first bytes of a connection where the PROXY protocol is on: below TLS, and below everything else.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustcorn_config::ProxyProtocol;
use rustcorn_sys::socket::has_pending_bytes;
use tokio::io::{AsyncRead, ReadBuf};

use crate::guard::Reason;
use crate::io::Socket;
use crate::proxy::{Begin, read};
use crate::registry::{Connection, Registered};

/// A connection whose PROXY header, if it has one, is not yet read.
pub(crate) struct Preamble {
    socket: Socket,
    registered: Registered,
    bytes: Vec<u8>,
}

/// How the connection begins.
pub(crate) enum Begun {
    /// It has ended, or its time has.
    Gone,
    /// With a header that is none, or from a peer that may not send one.
    Refused(Reason),
    /// Well. These bytes came after the header.
    Well(Bytes),
}

impl Preamble {
    /// Whether one is looked for.
    pub(crate) fn is_wanted(connection: &Connection) -> bool {
        connection.shared.policy.proxy_protocol != ProxyProtocol::Off
    }

    pub(crate) const fn new(socket: Socket, registered: Registered) -> Self {
        Self { socket, registered, bytes: Vec::new() }
    }

    /// The socket without the header.
    pub(crate) fn into_parts(self) -> (Socket, Registered) {
        (self.socket, self.registered)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Begun> {
        let Self { socket, registered: Registered(connection), bytes } = self;
        loop {
            let mut space = [MaybeUninit::uninit(); 1024];
            let mut buf = ReadBuf::uninit(&mut space);
            let polled = Pin::new(&mut *socket).poll_read(cx, &mut buf);
            if polled.is_pending() && connection.is_overdue() && !has_pending_bytes(socket.as_fd()) {
                return Poll::Ready(Begun::Gone);
            }
            if ready!(polled).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Begun::Gone);
            }
            connection.bytes_arrived();
            bytes.extend_from_slice(buf.filled());
            let policy = &connection.shared.policy;
            let length = match read(bytes, policy.proxy_protocol) {
                Begin::Part => continue,
                Begin::Malformed => return Poll::Ready(Begun::Refused(Reason::ProxyHeader)),
                Begin::Other => 0,
                Begin::Header(length, client) => {
                    if !policy.lets_proxy(connection.peer.as_ref().map(|peer| peer.socket_address())) {
                        return Poll::Ready(Begun::Refused(Reason::ProxyPeer));
                    }
                    if let Some(client) = client {
                        connection.proxied_for(client);
                    }
                    length
                }
            };
            if length == bytes.len() {
                connection.has_said_nothing();
            }
            return Poll::Ready(Begun::Well(Bytes::from(std::mem::take(bytes)).slice(length..)));
        }
    }
}
