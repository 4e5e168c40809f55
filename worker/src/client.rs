//! Who sent a request, and how, for the application.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HeaderName;

use crate::guard::Marks;
use crate::registry::{Connection, Peer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sent a request, and how it came: an extension of each request (`request.extensions().get::<rustcorn::Client>()`).
///
/// What other servers in front say counts only where they are listed in `forwarded_allow_ips` or `proxy_allow_ips`, so a
/// client cannot make itself somebody else.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// # fn main() -> Result<(), rustcorn::BoxError> { tokio::runtime::Runtime::new()?.block_on(async {
/// use axum::{Extension, Router, routing::get};
/// use rustcorn::Client;
///
/// async fn who(Extension(client): Extension<Client>) -> String {
///     format!("{:?} by {}", client.address(), client.scheme())
/// }
///
/// let server = rustcorn::serve_test("", |_ctx| async { Ok(Router::new().route("/", get(who))) }).await?;
/// assert_eq!(server.get("/").await?.body(), "Some(127.0.0.1) by http");
/// # Ok(()) }) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub(crate) address: Option<IpAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) secure: bool,
}

impl Client {
    /// The client's address: from `X-Forwarded-For` of a believed peer the last one that is not of a believed proxy, else from the
    /// PROXY protocol, else the peer's. `None` on a unix socket, if nobody says more.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The other end of the connection; `None` on a unix socket.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether the client speaks https, as far as is known: to this server, or to the believed one in front of it.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The client's address, where it is not the peer's.
    pub(crate) fn elsewhere(&self) -> Option<IpAddr> {
        self.address.filter(|address| self.peer.is_none_or(|peer| peer.ip().to_canonical() != *address))
    }

    /// `https` or `http`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

impl Connection {
    /// Who sent a request with these `headers`, of which `marks` were found.
    #[inline]
    pub(crate) fn sender(&self, marks: Marks, headers: &HeaderMap) -> Client {
        let peer = self.peer.as_ref().map(Peer::socket_address);
        let mut address = self.client().map(|client| client.socket_address().ip().to_canonical());
        if marks.forwarded_for {
            address = self.forwarded(headers).or(address);
        }
        Client { address, peer, secure: marks.https.unwrap_or_else(|| self.tls.get().is_some()) }
    }

    #[cold]
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().unwrap_or_default());
        self.shared.policy.forwarded_client(values)
    }
}
