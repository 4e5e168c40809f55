//! A socket to the master and the codec on it. All of it may be cancelled at any point and taken up again: nothing is lost between two
//! calls.

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::notice::Loss;
use super::zmtp::{self, Event, Peer, Role};
use crate::problem::without_number;

/// For a TCP connection, and for the master's part of the handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// As Locust's own workers.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// What a master that does not read may leave unread; far more than any report.
const MAX_BACKLOG: usize = 64 << 20;

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    peer: Peer,
    backlog: Vec<u8>,
}

impl Connection {
    /// Dials under the name `identity`, and shakes hands.
    pub(crate) async fn dial(host: &str, port: u16, identity: &str) -> Result<Self, Loss> {
        let unreachable = |why: String| Loss::Unreachable(format!("{host}:{port}: {why}"));
        let stream = match timeout(DIAL_TIMEOUT, TcpStream::connect((host, port))).await {
            Ok(connected) => connected.map_err(|error| unreachable(without_number(&error)))?,
            Err(_) => return Err(unreachable(format!("no answer within {} s", DIAL_TIMEOUT.as_secs()))),
        };
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let backlog = zmtp::hello(Role::Dealer, identity);
        let mut connection = Self { stream, peer: Peer::new(Role::Dealer), backlog };
        match timeout(DIAL_TIMEOUT, connection.event()).await {
            Ok(ready) => ready.map(|_| connection), // the codec lets nothing pass before Ready
            Err(_) => Err(Loss::Mute(DIAL_TIMEOUT)),
        }
    }

    /// Puts a message in the queue; it goes out while [`Self::receive`] or [`Self::close`] waits.
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.backlog.extend(zmtp::message(message));
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Result<Vec<u8>, Loss> {
        loop {
            if let Event::Message(message) = self.event().await? {
                return Ok(message);
            }
        }
    }

    /// Waits until the master has read everything and closed its side too, but not longer than this. Without that, what it has not
    /// read yet could be lost: closing a socket with unread answers in it resets the connection.
    pub(crate) async fn close(mut self, limit: Duration) -> Result<(), Loss> {
        let last_words = async {
            while !self.backlog.is_empty() {
                self.exchange().await?;
            }
            SockRef::from(&self.stream).shutdown(Shutdown::Write).map_err(broken)?;
            loop {
                self.exchange().await?; // ends with the end of file
            }
        };
        match timeout(limit, last_words).await {
            Ok(Ok(()) | Err(Loss::Closed)) => Ok(()),
            Ok(Err(loss)) => Err(loss),
            Err(_) => Err(Loss::Broken("it does not read".into())),
        }
    }

    async fn event(&mut self) -> Result<Event, Loss> {
        loop {
            match self.peer.poll().map_err(Loss::Violation)? {
                Some(Event::Reply(bytes)) => self.backlog.extend(bytes),
                Some(event) => return Ok(event),
                None => self.exchange().await?,
            }
        }
    }

    /// Reads something, or writes something.
    async fn exchange(&mut self) -> Result<(), Loss> {
        if self.backlog.len() > MAX_BACKLOG {
            return Err(Loss::Broken("it does not read".into()));
        }
        let interest =
            if self.backlog.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let ready = self.stream.ready(interest).await.map_err(broken)?;
        if ready.is_writable() && !self.backlog.is_empty() {
            self.write()?;
        }
        if ready.is_readable() { self.read() } else { Ok(()) }
    }

    fn read(&mut self) -> Result<(), Loss> {
        let mut buffer = [0; 16 << 10];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(Loss::Closed),
            Ok(length) => {
                self.peer.feed(&buffer[..length]);
                Ok(())
            }
            Err(error) => again(error),
        }
    }

    fn write(&mut self) -> Result<(), Loss> {
        match self.stream.try_write(&self.backlog) {
            Ok(written) => {
                self.backlog.drain(..written);
                Ok(())
            }
            Err(error) => again(error),
        }
    }
}

fn again(error: io::Error) -> Result<(), Loss> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(broken(error)) }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: io::Error) -> Loss {
    Loss::Broken(without_number(&error))
}
