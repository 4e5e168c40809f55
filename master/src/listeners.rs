//! The listening sockets: bound once, kept open for the master's whole life, shared with every worker.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use rustcorn_config::Address;
use rustcorn_sys::socket;

/// One socket that accepts connections. Generations share it; when the last one that uses it goes, it is closed.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Address,
    fd: OwnedFd,
    /// As a URL with the port it really has.
    url: String,
    /// A unix path to remove in the end.
    path: Option<PathBuf>,
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    address: Address,
    error: io::Error,
    /// Of the setting to blame.
    flag: &'static str,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error, flag } = self;
        let advice = match (error.kind(), address) {
            (ErrorKind::AddrInUse, _) => "is another server running? Stop it, or choose another address with",
            (ErrorKind::AddrNotAvailable, _) => "this machine has no such address, choose another one with",
            (ErrorKind::PermissionDenied, Address::Tcp { port: 1..1024, .. }) => {
                "a port below 1024 needs root or CAP_NET_BIND_SERVICE, choose another one with"
            }
            (_, Address::Unix(_)) => "check the directory and its permissions, or choose another path with",
            (_, Address::Tcp { .. }) => "choose another address with",
        };
        let what = match error.kind() {
            ErrorKind::AddrInUse => "the address is in use".to_owned(),
            _ => without_number(error),
        };
        write!(f, "cannot listen on {address}: {what}; {advice} {flag}")
    }
}

/// An error as people read it: without `(os error 98)`.
pub(crate) fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().map_or_else(String::new, str::to_owned)
}

impl Listener {
    fn bind(address: &Address, backlog: u32, flag: &'static str) -> Result<Self, BindError> {
        let failed = |error| BindError { address: address.clone(), error, flag };
        match address {
            Address::Tcp { host, port } => {
                let resolved = resolve(host, *port).map_err(failed)?;
                let fd = socket::listen_tcp(resolved, backlog).map_err(failed)?;
                let real = socket::local_address(&fd).map_err(failed)?;
                Ok(Self { address: address.clone(), fd, url: format!("http://{real}"), path: None })
            }
            Address::Unix(path) => {
                let fd = socket::listen_unix(path, backlog).map_err(failed)?;
                let path = Some(path.clone());
                Ok(Self { address: address.clone(), fd, url: address.to_string(), path })
            }
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        socket::set_backlog(self.fd.as_fd(), backlog)
    }

    /// Connections that wait to be accepted; `None` for a unix socket, which cannot tell.
    pub(crate) fn waiting(&self) -> Option<u64> {
        let tcp = matches!(self.address, Address::Tcp { .. });
        let waiting = || socket::accept_queue(self.fd.as_fd()).ok();
        tcp.then(waiting).flatten().map(u64::from)
    }

    /// From now on nobody can connect, whichever process holds the socket.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        socket::shutdown_listener(self.fd.as_fd())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Removed by somebody else already: then there is nothing to remove.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// IPv4 first where a name has both, as gunicorn does.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| io::Error::other("the name has no address"))
}

/// Sockets for all `addresses`: those of `present` that are still wanted, untouched, and new ones for the rest. An error
/// leaves everything as it was; it names the `flag` of the setting they are from.
pub(crate) fn bind_all(
    addresses: &[Address],
    present: &[Rc<Listener>],
    backlog: u32,
    flag: &'static str,
) -> Result<Vec<Rc<Listener>>, BindError> {
    let mut spare = present.to_vec();
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match spare.iter().position(|listener| listener.address == *address) {
            Some(index) => spare.swap_remove(index), // each once: with port 0 an address can stand there twice
            None => Rc::new(Listener::bind(address, backlog, flag)?),
        };
        listeners.push(listener);
    }
    Ok(listeners)
}
