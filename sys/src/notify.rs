//! Telling systemd how a service is (sd_notify(3)).

use std::io;
use std::time::Duration;

use nix::errno::Errno;
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
