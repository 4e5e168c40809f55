//! Where datagrams go: a UDP port, whose name may come to mean another address, or a unix socket, which may be recreated.
//!
//! A UDP socket is connected, as only then the kernel says that nobody listens. On loopback it says so at once, and the datagram
//! counts as not sent. From another host the refusal comes later, so the datagrams before it are lost; after that only a probe
//! is sent, until one was not refused.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustcorn_config::StatsdHost;
use rustcorn_sys::Monotonic;

/// Fits one Ethernet frame, with room for tunnels.
const FAR: usize = 1432;
/// On this machine. An 8 KiB datagram with its headers would take 16 KiB of the reader's buffer.
const NEAR: usize = 7680;
/// Least time between two look-ups of a name.
const LOOKUP: Duration = Duration::from_secs(60);
/// A look-up blocks the master, so a slow one waits longer for its next turn: it may take 1 % of the time.
const LOOKUP_SHARE: u32 = 100;
/// Longest wait at the exit for room in the reader's queue.
const PATIENCE: Duration = Duration::from_millis(200);

/// Looks a name up; literal addresses, too.
pub(super) type Lookup = Box<dyn FnMut(&str, u16) -> io::Result<Vec<SocketAddr>>>;

pub(super) struct Destination {
    host: StatsdHost,
    /// Datagrams known to be lost. The owner takes them from here.
    pub(super) lost: u64,
    link: Option<Link>,
    names: Names,
    trust: Trust,
    /// Datagrams that a refusal from now on may be about.
    unconfirmed: u64,
}

enum Link {
    Udp {
        socket: UdpSocket,
        near: bool,
    },
    /// Not connected: the path is looked up for each datagram, so a recreated socket file needs no care.
    Unix {
        socket: UnixDatagram,
        path: PathBuf,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    Full,
    /// Datagrams were lost here.
    Doubt,
    /// A probe is under way.
    Probed,
}

impl Destination {
    pub(super) fn new(host: StatsdHost) -> Self {
        Self::with_lookup(host, Box::new(|host, port| Ok((host, port).to_socket_addrs()?.collect())))
    }

    pub(super) fn with_lookup(host: StatsdHost, lookup: Lookup) -> Self {
        let names = Names { lookup, addresses: Vec::new(), current: 0, due: None, failure: String::new() };
        Self { host, lost: 0, link: None, names, trust: Trust::Full, unconfirmed: 0 }
    }

    /// Bytes that a datagram may have.
    pub(super) const fn limit(&self) -> usize {
        match self.link {
            Some(Link::Unix { .. } | Link::Udp { near: true, .. }) => NEAR,
            _ => FAR,
        }
    }

    /// Hears the answer to what was sent before; an error is a refusal.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        self.late_refusal()?;
        self.unconfirmed = 0;
        if self.trust == Trust::Probed {
            self.trust = Trust::Full;
        }
        Ok(())
    }

    /// Makes sure that there is a socket.
    pub(super) fn open(&mut self, now: Monotonic) -> io::Result<()> {
        let link = match &self.host {
            StatsdHost::Udp { host, port } => {
                let moved = self.names.refresh(host, *port, now)?;
                if self.link.is_some() && !moved {
                    return Ok(());
                }
                let address = self.names.address();
                match udp(address) {
                    Ok(socket) => Link::Udp { socket, near: address.ip().is_loopback() },
                    Err(error) => {
                        self.close();
                        return Err(error);
                    }
                }
            }
            StatsdHost::Unix(_) if self.link.is_some() => return Ok(()),
            StatsdHost::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Link::Unix { socket, path: path.clone() }
            }
        };
        self.link = Some(link);
        Ok(())
    }

    /// Whether only a probe should be sent.
    pub(super) fn doubtful(&self) -> bool {
        self.trust != Trust::Full
    }

    /// Sends something that may get lost.
    pub(super) fn probe(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.send(datagram)?;
        self.unconfirmed = 0;
        self.trust = Trust::Probed;
        Ok(())
    }

    /// Sends one datagram. After an error it was not sent and can be sent again, perhaps after [`Destination::open`].
    pub(super) fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.late_refusal()?;
        let sent = match &self.link {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(Link::Unix { socket, path }) => socket.send_to(datagram, path),
            Some(Link::Udp { socket, near }) => match (socket.send(datagram), near) {
                (Ok(_), true) => socket.take_error().and_then(|refusal| refusal.map_or(Ok(0), Err)),
                (sent, _) => sent,
            },
        };
        match sent {
            Ok(_) => {
                // On loopback the one before was not refused, or we would know.
                let near = self.limit() == NEAR;
                self.unconfirmed = if near { 1 } else { self.unconfirmed + 1 };
                Ok(())
            }
            // Trying again would not help it, and hold back all others.
            Err(error) if error.raw_os_error() == Some(EMSGSIZE) => {
                self.lost += 1;
                Ok(())
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.close();
                }
                Err(error)
            }
        }
    }

    /// From now on waits a moment for room in the reader's queue.
    pub(super) fn make_patient(&self) -> io::Result<()> {
        if let Some(Link::Unix { socket, .. }) = &self.link {
            socket.set_nonblocking(false)?;
            socket.set_write_timeout(Some(PATIENCE))?;
        }
        Ok(())
    }

    fn late_refusal(&mut self) -> io::Result<()> {
        let Some(Link::Udp { socket, .. }) = &self.link else { return Ok(()) };
        let Some(error) = socket.take_error()? else { return Ok(()) };
        self.lost += self.unconfirmed;
        self.unconfirmed = 0;
        self.trust = Trust::Doubt;
        self.close();
        Err(error)
    }

    /// The next socket is for the name's next address: `localhost` may be two, with a server on one.
    fn close(&mut self) {
        self.link = None;
        self.names.current += 1;
    }
}

/// errno(3): the datagram is too long.
const EMSGSIZE: i32 = 90;

fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

/// The addresses of a host.
struct Names {
    lookup: Lookup,
    addresses: Vec<SocketAddr>,
    /// Which of them is in use, modulo their number.
    current: usize,
    /// When the next look-up may be; none before the first.
    due: Option<Monotonic>,
    failure: String,
}

impl Names {
    /// Looks the host up if it is time; true if its addresses changed. Fails only if none are known.
    fn refresh(&mut self, host: &str, port: u16, now: Monotonic) -> io::Result<bool> {
        let literal = host.parse::<IpAddr>().is_ok() && !self.addresses.is_empty();
        if !literal && self.due.is_none_or(|due| now >= due) {
            let begin = Monotonic::now();
            let found = (self.lookup)(host, port);
            let took = Monotonic::now().since(begin);
            self.due = Some(now + LOOKUP.max(took.saturating_mul(LOOKUP_SHARE)));
            match found {
                Ok(addresses) if addresses.is_empty() => "the name has no address".clone_into(&mut self.failure),
                Ok(mut addresses) => {
                    addresses.sort(); // IPv4 first, all that gunicorn knows; and in the same order each time
                    addresses.dedup();
                    if self.addresses != addresses {
                        self.addresses = addresses;
                        self.current = 0;
                        return Ok(true);
                    }
                }
                // The addresses of before are better than none.
                Err(error) => self.failure = error.to_string(),
            }
        }
        if self.addresses.is_empty() { Err(io::Error::other(self.failure.clone())) } else { Ok(false) }
    }

    fn address(&self) -> SocketAddr {
        self.addresses[self.current % self.addresses.len()]
    }
}
