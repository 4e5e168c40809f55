//! Where a worker accepts connections, for the application to know.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::{fmt, io};

/// Where a worker accepts connections; displayed as in the setting `bind`.
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// let address = rustcorn::Address::Tcp("127.0.0.1:8000".parse().expect("an address"));
/// assert_eq!(address.to_string(), "127.0.0.1:8000");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Address {
    /// TCP: address and port.
    Tcp(SocketAddr),
    /// A unix socket: its file, unless it is one without.
    Unix(Option<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

impl Address {
    /// Those of listening sockets, each once: with `reuse_port` there are several sockets for one.
    pub(crate) fn of(sockets: &[OwnedFd]) -> io::Result<Vec<Self>> {
        let mut addresses = Vec::new();
        for socket in sockets {
            let address = Self::of_one(socket.as_fd())?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    fn of_one(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let tcp = std::net::TcpListener::from(socket.try_clone_to_owned()?);
        if let Ok(address) = tcp.local_addr() {
            return Ok(Self::Tcp(address));
        }
        let unix = std::os::unix::net::UnixListener::from(OwnedFd::from(tcp));
        Ok(Self::Unix(unix.local_addr()?.as_pathname().map(Into::into)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_there_once_however_many_sockets_it_has() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = Address::Tcp(tcp.local_addr().unwrap());
        let sockets = [tcp.try_clone().unwrap().into(), tcp.into()];
        assert_eq!(Address::of(&sockets).unwrap(), [expected]);
        let path = std::env::temp_dir().join(format!("rustcorn-address-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let addresses = Address::of(&[unix.into()]).unwrap();
        assert_eq!(addresses, [Address::Unix(Some(path.clone()))]);
        assert_eq!(addresses[0].to_string(), format!("unix:{}", path.display()));
    }
}
