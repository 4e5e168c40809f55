//! The first bytes of a connection where the PROXY protocol is on: below TLS, and below everything else.

use std::io;

use tokio::io::ReadBuf;

use crate::guard::Reason;
use crate::proxy::{Begin, read};
use crate::registry::Connection;

/// A connection whose PROXY header, if it has one, is not yet read.
pub(crate) struct Preamble {
    /// So far; when it is over, what came after it.
    bytes: Vec<u8>,
    over: bool,
}

impl Preamble {
    /// `None` where none is looked for.
    pub(crate) fn of(connection: &Connection) -> Option<Box<Self>> {
        let wanted = connection.shared.policy().proxy_protocol != rustcorn_config::ProxyProtocol::Off;
        wanted.then(|| Box::new(Self { bytes: Vec::new(), over: false }))
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// Takes more bytes. The error ends the connection; why, it knows.
    pub(crate) fn read(&mut self, bytes: &[u8], connection: &Connection) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        let policy = connection.shared.policy();
        let refused = |reason: Reason| {
            connection.proxy_failed(reason);
            Err(io::Error::new(io::ErrorKind::InvalidData, reason.text()))
        };
        match read(&self.bytes, policy.proxy_protocol) {
            Begin::Part => return Ok(()),
            Begin::Other => {}
            Begin::Malformed => return refused(Reason::ProxyHeader),
            Begin::Header(length, client) => {
                if !policy.lets_proxy(connection.peer.as_ref().map(|peer| peer.socket_address())) {
                    return refused(Reason::ProxyPeer);
                }
                self.bytes.drain(..length);
                if let Some(client) = client {
                    connection.proxied_for(client);
                }
            }
        }
        self.over = true;
        Ok(())
    }

    /// Gives what came after it to `buf`. Whether there is more.
    pub(crate) fn hand_over(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let fits = self.bytes.len().min(buf.remaining());
        buf.put_slice(&self.bytes[..fits]);
        self.bytes.drain(..fits);
        !self.bytes.is_empty()
    }
}
