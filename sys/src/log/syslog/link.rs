//! The socket to a syslog server, opened again when it breaks. Nothing here waits, except for the first connection.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockAddr, Socket, Type};

use super::{Address, Kind};
use crate::Monotonic;

/// How long a start waits for the server to accept a connection.
const PATIENCE: u8 = 250; // milliseconds
/// Time between two tries to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// Ends a line in a stream.
const END: u8 = b'\n';

#[derive(Debug)]
pub(super) struct Link {
    /// All that the address may stand for; or why it stands for nothing.
    targets: Result<Vec<(SockAddr, Type)>, String>,
    socket: Option<(Socket, Type)>,
    /// What a stream has not taken yet of a line.
    rest: Vec<u8>,
    /// When a connection was last tried for, and why there is none.
    tried: Option<(Monotonic, String)>,
}

impl Link {
    pub(super) fn open(address: &Address, now: Monotonic) -> Self {
        let targets = targets(address).map_err(|error| error.to_string());
        let mut link = Self { targets, socket: None, rest: Vec::new(), tried: None };
        // That it failed is said with the first line that is lost for it.
        if link.connect(now).is_ok()
            && let Some((socket, _)) = &link.socket
        {
            let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(PATIENCE));
        }
        link
    }

    /// The refusal of a datagram that had been sent. One that is local is refused before the next is sent.
    pub(super) fn late_refusal(&self) -> io::Result<()> {
        match &self.socket {
            Some((socket, Type::DGRAM)) => socket.take_error()?.map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    /// Sends one line. After an error it is lost.
    pub(super) fn send(&mut self, line: &[u8], now: Monotonic) -> io::Result<()> {
        if self.is_closed() {
            self.close();
        }
        let was_open = self.socket.is_some();
        if !was_open {
            self.connect(now)?;
        }
        match self.put(line) {
            Err(error) if self.is_broken_by(&error) => {
                self.close();
                if !was_open {
                    return Err(error);
                }
                // The server was started again, and its socket is another one now.
                self.connect(now)?;
                self.put(line)
            }
            sent => sent,
        }
    }

    /// Whether the socket is of no more use.
    fn is_broken_by(&self, error: &io::Error) -> bool {
        let is_udp =
            |socket: &Socket, kind| kind == Type::DGRAM && socket.peer_addr().is_ok_and(|peer| !peer.is_unix());
        error.kind() != io::ErrorKind::WouldBlock
            && !self.socket.as_ref().is_some_and(|(socket, kind)| is_udp(socket, *kind))
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        match &self.socket {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some((socket, Type::DGRAM)) => {
                socket.send(line)?;
                socket.take_error()?.map_or(Ok(()), Err)
            }
            Some((socket, _)) => {
                // All of a line or nothing: half of one would spoil the next.
                if !self.rest.is_empty() {
                    let taken = socket.send(&self.rest)?;
                    self.rest.drain(..taken);
                    if !self.rest.is_empty() {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                let line = [line, &[END]].concat();
                let taken = socket.send(&line)?;
                self.rest.extend_from_slice(&line[taken..]);
                Ok(())
            }
        }
    }

    /// Whether the other side of a stream has left. A syslog server says nothing else.
    fn is_closed(&self) -> bool {
        match &self.socket {
            Some((socket, Type::STREAM)) => socket.peek(&mut [std::mem::MaybeUninit::uninit()]).is_ok_and(|n| n == 0),
            _ => false,
        }
    }

    fn close(&mut self) {
        self.socket = None;
        self.rest.clear();
    }

    fn connect(&mut self, now: Monotonic) -> io::Result<()> {
        if let Some((tried, why)) = &self.tried
            && now.since(*tried) < PAUSE
        {
            return Err(io::Error::other(why.clone()));
        }
        let result = self.try_to_connect();
        self.tried = Some((now, result.as_ref().map_or_else(ToString::to_string, |()| "it hangs up".to_owned())));
        result
    }

    fn try_to_connect(&mut self) -> io::Result<()> {
        let targets = self.targets.as_ref().map_err(|error| io::Error::other(error.clone()))?;
        let mut result = Err(io::ErrorKind::NotFound.into());
        for (address, kind) in targets {
            match connected(address, *kind) {
                Ok(socket) => {
                    self.socket = Some((socket, *kind));
                    return Ok(());
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

fn connected(address: &SockAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), kind, None)?; // close-on-exec
    socket.set_nonblocking(true)?;
    match socket.connect(address) {
        // What is sent before the connection stands is refused as if there were no room.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        result => result.map(|()| socket),
    }
}

fn targets(address: &Address) -> io::Result<Vec<(SockAddr, Type)>> {
    let kinds: &[Type] = match address {
        Address::Unix { kind: Kind::Either, .. } => &[Type::DGRAM, Type::STREAM],
        Address::Unix { kind: Kind::Datagram, .. } | Address::Udp { .. } => &[Type::DGRAM],
        Address::Unix { kind: Kind::Stream, .. } | Address::Tcp { .. } => &[Type::STREAM],
    };
    let addresses: Vec<SockAddr> = match address {
        Address::Unix { path, .. } => vec![SockAddr::unix(path)?],
        Address::Udp { host, port } | Address::Tcp { host, port } => {
            // IPv4 first: that is where syslog servers listen, and a datagram to nobody cannot tell.
            let mut found: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs()?.collect();
            found.sort_by_key(SocketAddr::is_ipv6);
            found.into_iter().map(SockAddr::from).collect()
        }
    };
    Ok(kinds.iter().flat_map(|kind| addresses.iter().map(move |address| (address.clone(), *kind))).collect())
}
