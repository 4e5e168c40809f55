//! The listening sockets: bound once, kept open for the master's whole life, shared with every worker.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustcorn_config::Address;
use rustcorn_sys::fd::set_nonblocking;
use rustcorn_sys::socket::{self, Place};

/// One socket that accepts connections. Generations share it; when the last one that uses it goes, it is closed.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Address,
    fd: OwnedFd,
    /// As a URL with the port it really has.
    url: String,
    /// A unix path to remove in the end, with the file that was ours: somebody may have put another one there since.
    file: Option<(PathBuf, FileId)>,
    /// Whether the file is ours alone to remove: not while another master uses it too, and never if others made it.
    owns_file: Cell<bool>,
}

/// Device and inode: which file a path means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        std::fs::symlink_metadata(path).ok().map(|meta| Self(meta.dev(), meta.ino()))
    }
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub(crate) struct BindError {
    address: Address,
    error: io::Error,
    /// A socket of this very server that stands in the way.
    held: Option<String>,
    /// Of the setting to blame.
    flag: &'static str,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error, held, flag } = self;
        if let (ErrorKind::AddrInUse, Some(held)) = (error.kind(), held) {
            let advice = "a reload keeps an address or opens another port; to change the host of a port, restart";
            return write!(f, "cannot listen on {address}: this server itself listens at {held}; {advice}");
        }
        let advice = match (error.kind(), address) {
            (ErrorKind::AddrInUse, _) => "is another server running? Stop it, or choose another address with",
            (ErrorKind::AddrNotAvailable, _) => "this machine has no such address, choose another one with",
            (ErrorKind::PermissionDenied, Address::Tcp { port: 1..1024, .. }) => {
                "a port below 1024 needs root or CAP_NET_BIND_SERVICE, choose another one with"
            }
            (_, Address::Unix(_)) => "check the directory and its permissions, or choose another path with",
            (_, Address::Tcp { .. }) => "choose another address with",
            (_, Address::Descriptor(_)) => {
                "open a listening socket there before the start, or choose another address with"
            }
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
    fn bind(
        address: &Address,
        only_v6: bool,
        backlog: u32,
        flag: &'static str,
        at_start: bool,
    ) -> Result<Self, BindError> {
        let failed = |error| BindError { address: address.clone(), error, held: None, flag };
        let owns_file = Cell::new(true);
        match address {
            Address::Tcp { host, port } => {
                let resolved = resolve(host, *port).map_err(failed)?;
                let fd = socket::listen_tcp(resolved, only_v6, backlog).map_err(failed)?;
                let real = socket::local_address(&fd).map_err(failed)?;
                Ok(Self { address: address.clone(), fd, url: format!("http://{real}"), file: None, owns_file })
            }
            Address::Unix(path) => {
                let fd = socket::listen_unix(path, backlog).map_err(failed)?;
                let file = FileId::of(path).map(|id| (path.clone(), id));
                Ok(Self { address: address.clone(), fd, url: address.to_string(), file, owns_file })
            }
            // Later the number may be that of any descriptor of this process.
            Address::Descriptor(_) if !at_start => Err(failed(io::Error::new(
                ErrorKind::Unsupported,
                "only a start can take over a descriptor, no reload",
            ))),
            Address::Descriptor(number) => {
                let fd = socket::adopt_listener(*number).map_err(failed)?;
                Self::inherited(address.clone(), fd).map_err(failed)
            }
        }
    }

    /// A socket that somebody else opened. If it has a file, that is theirs until [`Self::own_file`].
    pub(crate) fn inherited(address: Address, fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(fd.as_fd())?;
        let (url, path) = match socket::place(fd.as_fd())? {
            Place::Tcp(real) => (format!("http://{real}"), None),
            Place::Unix(Some(path)) => (format!("unix:{}", path.display()), Some(path)),
            Place::Unix(None) => ("unix:".to_owned(), None),
        };
        let file = path.and_then(|path| FileId::of(&path).map(|id| (path, id)));
        Ok(Self { address, fd, url, file, owns_file: Cell::new(false) })
    }

    /// Whether its file, if it has one, is this master's to remove. What was opened by whoever started the server never is.
    pub(crate) fn own_file(&self, ours: bool) {
        self.owns_file.set(ours && !matches!(self.address, Address::Descriptor(_)));
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        socket::set_backlog(self.fd.as_fd(), backlog)
    }

    /// Connections that wait to be accepted; `None` for a unix socket, which cannot tell.
    pub(crate) fn waiting(&self) -> Option<u64> {
        socket::accept_queue(self.fd.as_fd()).ok().map(u64::from)
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
        if let Some((path, id)) = &self.file
            && self.owns_file.get()
            && FileId::of(path).as_ref() == Some(id)
        {
            // Removed by somebody else in this moment: then there is nothing to remove.
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
/// leaves everything as it was; it names the `flag` of the setting they are from. Only `at_start` can a descriptor be taken over.
pub(crate) fn bind_all(
    addresses: &[Address],
    present: &[Rc<Listener>],
    backlog: u32,
    flag: &'static str,
    at_start: bool,
) -> Result<Vec<Rc<Listener>>, BindError> {
    let mut spare = present.to_vec();
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match spare.iter().position(|listener| listener.address == *address) {
            Some(index) => spare.swap_remove(index), // each once: with port 0 an address can stand there twice
            None => {
                let only_v6 = shares_port_with_v4(address, addresses);
                let bound = Listener::bind(address, only_v6, backlog, flag, at_start);
                Rc::new(bound.map_err(|error| BindError { held: same_port(address, present), ..error })?)
            }
        };
        listeners.push(listener);
    }
    Ok(listeners)
}

fn port(address: &Address) -> Option<u16> {
    match address {
        Address::Tcp { port, .. } if *port != 0 => Some(*port),
        Address::Tcp { .. } | Address::Unix(_) | Address::Descriptor(_) => None,
    }
}

/// Whether an IPv4 address wants the same port, so that an IPv6 wildcard must leave it alone.
fn shares_port_with_v4(address: &Address, all: &[Address]) -> bool {
    let is_v4 = |other: &&Address| matches!(other, Address::Tcp { host, .. } if host.parse::<Ipv4Addr>().is_ok());
    port(address).is_some_and(|own| all.iter().filter(is_v4).any(|other| port(other) == Some(own)))
}

fn same_port(address: &Address, present: &[Rc<Listener>]) -> Option<String> {
    let own = port(address)?;
    let ends_with = format!(":{own}"); // by the port it really has, which the kernel may have chosen
    present.iter().find(|listener| listener.file.is_none() && listener.url.ends_with(&ends_with)).map(|l| l.url.clone())
}
