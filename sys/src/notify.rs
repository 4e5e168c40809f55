//! Telling systemd how a service is (sd_notify(3)), and hearing it as systemd does.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname,
    recvmsg, setsockopt, socket, sockopt,
};
use nix::unistd::getpgid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Pid;

/// Variables that are for the service's main process alone.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The socket of a service manager. Never blocks: a master that waits for its manager serves nobody. (Which is why this is not
/// done by a library.)
#[derive(Debug)]
pub struct Notifier {
    socket: Socket,
    address: SockAddr,
}

impl Notifier {
    /// The manager that the environment names; `None` if there is none.
    pub fn from_env() -> io::Result<Option<Self>> {
        match std::env::var("NOTIFY_SOCKET") {
            Ok(address) if !address.is_empty() => Self::to(&address).map(Some),
            _ => Ok(None),
        }
    }

    /// `address` is a path, or with `@` in front a name in the abstract namespace (unix(7)).
    fn to(address: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        let address = match address.strip_prefix('@') {
            Some(name) => SockAddr::unix(format!("\0{name}"))?,
            None => SockAddr::unix(address)?,
        };
        Ok(Self { socket, address })
    }

    /// Sends assignments, `KEY=VALUE` one a line. What the manager has no room for is lost, which it will survive.
    pub fn send(&self, state: &str) -> io::Result<()> {
        match self.socket.send_to(state.as_bytes(), &self.address) {
            Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Ok(()),
            sent => sent.map(drop),
        }
    }
}

/// Where our own children may tell how they are: the other end of [`Notifier`].
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: String,
}

/// What somebody told. The kernel vouches for who it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Who told it.
    pub by: Pid,
    /// The process group it is in; a helper of a service (`systemd-notify`) is in the service's. `None`: it is gone already.
    pub group: Option<Pid>,
    /// Assignments, `KEY=VALUE` one a line.
    pub state: String,
}

impl Listener {
    /// A socket in the abstract namespace, whose name the kernel chooses: no file that a child may not reach or that stays.
    pub fn bind() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let name: UnixAddr = getsockname(socket.as_raw_fd())?;
        let name = name.as_abstract().map(String::from_utf8_lossy).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address: format!("@{name}"), socket })
    }

    /// For the variable `NOTIFY_SOCKET`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next message; `None`: there is none now. What is too long is cut, and descriptors are not taken.
    pub fn next(&self) -> io::Result<Option<Told>> {
        loop {
            let (mut text, mut space) = ([0; 4096], nix::cmsg_space!(UnixCredentials));
            let mut parts = [IoSliceMut::new(&mut text)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let received = match recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                received => received?,
            };
            let sender = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Pid::from_raw(sender.pid()),
                _ => None,
            });
            let length = received.bytes;
            // None: from outside of our PID namespace.
            if let Some(by) = sender {
                let group = getpgid(Some(nix::unistd::Pid::from_raw(by.as_raw()))).ok();
                let group = group.and_then(|group| Pid::from_raw(group.as_raw()));
                let state = String::from_utf8_lossy(&text[..length]).into_owned();
                return Ok(Some(Told { by, group, state }));
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How often the manager wants to hear `WATCHDOG=1` from this process, at least; `None`: it does not ask (sd_watchdog_enabled(3)).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let microseconds = variable("WATCHDOG_USEC").filter(|time| *time > 0)?;
    let for_us = std::env::var_os("WATCHDOG_PID").is_none()
        || variable("WATCHDOG_PID") == u64::try_from(Pid::this().as_raw()).ok();
    for_us.then_some(Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    #[test]
    fn a_listener_knows_who_tells() {
        let listener = Listener::bind().expect("a free name");
        assert_eq!(listener.next().expect("it can be asked"), None);
        let notifier = Notifier::to(listener.address()).expect("a socket");
        notifier.send("READY=1\nSTATUS=fine").expect("sent");
        notifier.send("STOPPING=1").expect("sent");
        let told = listener.next().expect("it can be asked").expect("it came");
        assert_eq!((told.by, told.state.as_str()), (Pid::this(), "READY=1\nSTATUS=fine"));
        assert_eq!(told.group, Pid::from_raw(nix::unistd::getpgrp().as_raw()));
        assert_eq!(listener.next().expect("it can be asked").map(|told| told.state).as_deref(), Some("STOPPING=1"));
        assert_eq!(listener.next().expect("it can be asked"), None);
    }

    #[test]
    fn the_manager_hears_it_by_path_and_by_abstract_name() {
        let name = format!("rustcorn-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).expect("a free path");
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("free");
        for (manager, address) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            Notifier::to(&address).expect("a socket").send("READY=1\nSTATUS=fine").expect("sent");
            let mut text = [0; 100];
            let length = manager.recv(&mut text).expect("it came");
            assert_eq!(&text[..length], b"READY=1\nSTATUS=fine");
        }
        std::fs::remove_file(path).expect("it was ours");
    }
}
