//! The listening sockets: bound once, kept open for the master's whole life, shared with every worker.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustcorn_config::Address;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::set_nonblocking;
use rustcorn_sys::file::FileId;
use rustcorn_sys::socket::{self, Access, Place};

/// An address that accepts connections. Generations share it; when the last one that uses it goes, it is closed.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Address,
    /// Before the sockets: as long as they are open, nobody takes the file for a stale one.
    file: Option<Rc<SocketFile>>,
    /// One; with `reuse_port` one for each lane.
    sockets: Vec<OwnedFd>,
    /// As a URL with the port it really has.
    url: String,
}

/// The file of a unix socket, which is removed in the end.
#[derive(Debug)]
pub(crate) struct SocketFile {
    /// Absolute, since the working directory may change.
    path: PathBuf,
    /// The file that was ours: somebody may have put another one there since.
    id: Option<FileId>,
    /// It is somebody else's to remove: another master uses the socket too, or others made it.
    keep: Cell<bool>,
}

impl SocketFile {
    fn is_ours(&self) -> bool {
        self.id.is_some() && FileId::at(&self.path).ok() == self.id
    }

    /// The file of a socket that another master had, which is gone: nobody else will remove it. Unless a listener still has it.
    pub(crate) fn remove_if_last(self: Rc<Self>) {
        if let Some(file) = Rc::into_inner(self) {
            file.keep.set(false);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.keep.get() && self.is_ours() {
            // Removed by somebody else in this moment: then there is nothing to remove.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// How to bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) backlog: u32,
    /// Of unix sockets.
    pub(crate) access: Access,
    /// Sockets for each TCP address (`reuse_port`); `None`: one that cannot be shared with other programs.
    pub(crate) lanes: Option<usize>,
    /// Of the setting that the addresses are from.
    pub(crate) flag: &'static str,
    /// Nothing of this process's own is open yet, so that a number means what it meant to whoever started it.
    pub(crate) at_start: bool,
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

impl Listener {
    fn bind(address: &Address, only_v6: bool, terms: &Terms) -> Result<Self, BindError> {
        let Terms { backlog, access, lanes, flag, at_start } = *terms;
        let failed = |error| BindError { address: address.clone(), error, held: None, flag };
        match address {
            Address::Tcp { host, port } => {
                let resolved = resolve(host, *port).map_err(failed)?;
                let listen = |at| socket::listen_tcp(at, only_v6, lanes.is_some(), backlog).map_err(failed);
                let mut sockets = vec![listen(resolved)?];
                let real = socket::local_address(&sockets[0]).map_err(failed)?;
                for _ in 1..lanes.unwrap_or(1) {
                    sockets.push(listen(real)?); // the kernel has chosen the port by now
                }
                Ok(Self { address: address.clone(), sockets, url: format!("http://{real}"), file: None })
            }
            Address::Unix(name) => {
                let path = std::path::absolute(name).map_err(failed)?;
                // By the name as it is: it may be short enough where the absolute path is not.
                let sockets = vec![socket::listen_unix(name, backlog, access).map_err(failed)?];
                let file = SocketFile { id: FileId::at(&path).ok(), path, keep: Cell::new(false) };
                Ok(Self { address: address.clone(), sockets, url: address.to_string(), file: Some(Rc::new(file)) })
            }
            // Later the number may be that of any descriptor of this process.
            Address::Descriptor(_) if !at_start => Err(failed(io::Error::new(
                ErrorKind::Unsupported,
                "only a start can take over a descriptor, no reload",
            ))),
            Address::Descriptor(number) => {
                let socket = socket::adopt_listener(*number).map_err(failed)?;
                Self::inherited(address.clone(), vec![socket], None).map_err(failed)
            }
        }
    }

    /// What somebody else opened, at least one socket. If it has a file, that is theirs until [`Self::own_file`]; `path` is where it
    /// is, where the socket's own name for it is no absolute path.
    pub(crate) fn inherited(address: Address, sockets: Vec<OwnedFd>, path: Option<PathBuf>) -> io::Result<Self> {
        sockets.iter().try_for_each(|socket| set_nonblocking(socket.as_fd()))?;
        let first = sockets.first().ok_or(ErrorKind::NotFound)?;
        let (url, name) = match socket::place(first.as_fd())? {
            Place::Tcp(real) => (format!("http://{real}"), None),
            Place::Unix(Some(name)) => (format!("unix:{}", name.display()), Some(name)),
            Place::Unix(None) => ("unix:".to_owned(), None),
        };
        let file =
            path.or(name).map(|path| Rc::new(SocketFile { id: FileId::at(&path).ok(), path, keep: Cell::new(true) }));
        Ok(Self { address, sockets, url, file })
    }

    /// Whether its file, if it has one, is this master's to remove. What was opened by whoever started the server never is.
    pub(crate) fn own_file(&self, ours: bool) {
        if let Some(file) = &self.file {
            file.keep.set(!ours || self.is_foreign());
        }
    }

    /// Its file, to be removed if this listener goes while another master has the socket, too, and that goes later.
    pub(crate) fn legacy(&self) -> Option<Rc<SocketFile>> {
        self.file.clone().filter(|_| !self.is_foreign())
    }

    /// Whether it was opened by whoever started the server, whose it stays.
    pub(crate) const fn is_foreign(&self) -> bool {
        matches!(self.address, Address::Descriptor(_))
    }

    /// Where its file is, if it has one; absolute.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What accepts, in the order of the lanes.
    pub(crate) fn sockets(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    pub(crate) fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        self.sockets().try_for_each(|socket| socket::set_backlog(socket, backlog))
    }

    /// Changes who may connect from now on, if this is a unix socket, opened by this server, and its file still ours.
    pub(crate) fn set_access(&self, access: Access) -> io::Result<()> {
        match &self.file {
            Some(file) if file.is_ours() && !self.is_foreign() => socket::set_access(&file.path, access),
            _ => Ok(()),
        }
    }

    /// Connections that wait to be accepted; `None` for a unix socket, which cannot tell.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.sockets().map(|socket| socket::accept_queue(socket).ok().map(u64::from)).sum()
    }

    /// From now on nobody can connect, whichever process holds the sockets.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.sockets().try_for_each(socket::shutdown_listener)
    }

    /// Whether this is what listens at `address`, as seen from the present working directory.
    fn is_at(&self, address: &Address) -> bool {
        let same_file =
            |path| self.file.as_ref().is_some_and(|file| std::path::absolute(path).is_ok_and(|path| path == file.path));
        match address {
            Address::Unix(path) => same_file(path),
            Address::Tcp { .. } | Address::Descriptor(_) => self.address == *address,
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
/// leaves everything as it was.
pub(crate) fn bind_all(
    addresses: &[Address],
    present: &[Rc<Listener>],
    terms: &Terms,
) -> Result<Vec<Rc<Listener>>, BindError> {
    let mut spare = present.to_vec();
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match spare.iter().position(|listener| listener.is_at(address)) {
            Some(index) => spare.swap_remove(index), // each once: with port 0 an address can stand there twice
            None => {
                let bound = Listener::bind(address, shares_port_with_v4(address, addresses), terms);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_service_managers_socket_file_is_left_as_it_is() {
        let path = std::env::temp_dir().join(format!("rustcorn-listener-{}", std::process::id()));
        let socket = OwnedFd::from(UnixListener::bind(&path).expect("a free path"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).expect("it is ours");
        let listener = Listener::inherited(Address::Descriptor(3), vec![socket], None).expect("it listens");
        listener.own_file(true);
        listener.set_access(Access { mode: 0o600, owner: None }).expect("nothing to do");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o620);
        drop(listener);
        std::fs::remove_file(&path).expect("still there");
    }
}
