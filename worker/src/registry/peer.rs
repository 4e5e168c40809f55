//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// Who is at the other end of a connection. The text is made when it is first asked for.
pub(crate) struct Peer {
    address: SocketAddr,
    text: OnceLock<Arc<str>>,
}

impl Peer {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, text: OnceLock::new() }
    }

    /// The address without its port.
    pub(crate) fn address(&self) -> Arc<str> {
        // A socket for both families shows an IPv4 client as ::ffff:10.0.0.1.
        Arc::clone(self.text.get_or_init(|| self.address.ip().to_canonical().to_string().into()))
    }

    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) const fn socket_address(&self) -> SocketAddr {
        self.address
    }
}
