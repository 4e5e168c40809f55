//! Listening sockets as a prefork server needs them, and what they and connections can be asked.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};

/// Binds and listens on a TCP address: close-on-exec, non-blocking, `SO_REUSEADDR`, `TCP_NODELAY` (which accepted connections
/// inherit on Linux, so nobody has to set it per connection). `backlog` is capped by the kernel (net.core.somaxconn).
/// `only_v6` keeps an IPv6 wildcard from taking the IPv4 port too. `reuse_port`: other sockets may share the port
/// (`SO_REUSEPORT`), and the kernel chooses among them by a hash of each connection's addresses.
pub fn listen_tcp(address: SocketAddr, only_v6: bool, reuse_port: bool, backlog: u32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?; // socket2 sets close-on-exec
    if only_v6 && address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Who may connect to a unix socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Permission bits of its file; to connect takes the right to write.
    pub mode: u32,
    /// User and group it is given to.
    pub owner: Option<(u32, u32)>,
}

/// Binds and listens on a unix path. A socket file that nobody listens on any more (its server crashed) is replaced; one with a
/// live server behind it is `AddrInUse`, and anything that is not a socket is left alone. At no time can anybody connect whom
/// `access` does not allow to.
pub fn listen_unix(path: &Path, backlog: u32, access: Access) -> io::Result<OwnedFd> {
    let socket = bind_unix(path)?;
    // The file is there, but until listen nobody can connect, whatever its permissions. A file of ours that cannot be used is not left behind.
    let ready = set_access(path, access).and_then(|()| socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX)));
    ready.inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(socket.into())
}

/// [`listen_unix`] without the listening: until then nobody can connect.
pub(crate) fn bind_unix(path: &Path) -> io::Result<Socket> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "the file exists and is not a socket"));
        }
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        probe.set_nonblocking(true)?; // a full queue must not make us wait
        match probe.connect(&SockAddr::unix(path)?) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            // Anything but a refusal (success, a full queue, no permission) means that somebody may be there.
            _ => return Err(ErrorKind::AddrInUse.into()),
        }
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Connects to a unix socket; where its queue is full, because nobody accepts, for at most `patience` (unix(7)).
pub fn connect_unix(path: &Path, patience: std::time::Duration) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// Gives a unix socket's file these permissions and this owner. Works on the file that was looked at, even if somebody puts
/// another one in its place at this moment; one that is not a socket is left alone.
pub fn set_access(path: &Path, access: Access) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = std::fs::File::from(nix::fcntl::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "the file is not a socket"));
    }
    if let Some((uid, gid)) = access.owner.filter(|owner| *owner != (meta.uid(), meta.gid())) {
        fchownat(&file, c"", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::AT_EMPTY_PATH)?;
    }
    if meta.mode() & 0o777 != access.mode {
        // The only way by descriptor before fchmodat2 (Linux 6.6).
        let link = format!("/proc/self/fd/{}", crate::fd::number(&file));
        std::fs::set_permissions(link, std::fs::Permissions::from_mode(access.mode))?;
    }
    Ok(())
}

/// Gives a listening socket another backlog; Linux allows that at any time (listen(2)).
pub fn set_backlog(listener: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    SockRef::from(&listener).listen(i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// A copy of a listening socket that the process that started us left open as descriptor `number`, close-on-exec and
/// non-blocking; the number itself is left alone. To be asked before anything of our own can have the number.
///
/// # Errors
/// It is not open, or no stream socket that listens.
pub fn adopt_listener(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: only borrowed for these calls; a number that is not open yields EBADF.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let socket: Socket = given.try_clone_to_owned()?.into();
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no socket that listens"));
    }
    // Not for our children, who get copies of ours where they are told to look for them.
    nix::fcntl::fcntl(given, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Where a listening socket listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A path, or none in the abstract namespace.
    Unix(Option<std::path::PathBuf>),
}

/// Asks a listening socket for its address (getsockname(2)).
pub fn place(listener: BorrowedFd<'_>) -> io::Result<Place> {
    let address = SockRef::from(&listener).local_addr()?;
    Ok(address.as_socket().map_or_else(|| Place::Unix(address.as_pathname().map(Into::into)), Place::Tcp))
}

/// The address a TCP listener really has: with port 0 the kernel chose one.
pub fn local_address(listener: &OwnedFd) -> io::Result<SocketAddr> {
    TcpListener::from(listener.try_clone()?).local_addr()
}

/// Connections that wait to be accepted on a TCP listener (tcp(7), `TCP_INFO`: for a listener, `tcpi_unacked` is the length of
/// its accept queue). A unix socket cannot tell, which is an error.
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<u32> {
    use std::os::fd::AsRawFd;
    // SAFETY: the kernel writes at most `length` bytes into a struct of integers, which is ours.
    let (result, info) = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).expect("a few hundred bytes");
        let pointer = (&raw mut info).cast();
        (libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, pointer, &raw mut length), info)
    };
    if result == 0 { Ok(info.tcpi_unacked) } else { Err(io::Error::last_os_error()) }
}

/// Stops a listening socket for every process that holds it, at this moment: from now on the kernel refuses connections
/// instead of queueing them for nobody. A socket that is stopped already is no error.
pub fn shutdown_listener(listener: BorrowedFd<'_>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    match shutdown(listener.as_raw_fd(), Shutdown::Both) {
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a TCP listener leave new handshakes unanswered, for every process that holds it and for good: their clients ask again
/// after a second. Those that the kernel has already answered go on, so a queue that is emptied after this soon stays empty,
/// and a shutdown that follows resets nobody who believes to be connected.
///
/// The means is a classic socket filter (socket(7), `SO_ATTACH_FILTER`) that drops segments with SYN and without ACK. Newer kernels
/// let only privileged processes (`CAP_NET_ADMIN`) do that to a TCP socket.
pub fn refuse_new_handshakes(listener: BorrowedFd<'_>) -> io::Result<()> {
    const FLAGS: u32 = 13; // offset in the TCP header, where such a filter's packet begins
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let code = |code: u32| u16::try_from(code).expect("opcodes are small");
    SockRef::from(&listener).attach_filter(&[
        SockFilter::new(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, FLAGS),
        SockFilter::new(code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), 0, 0, SYN | ACK),
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, SYN),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0), // drop
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX), // keep all of it
    ])
}

/// Whether somebody waits to be accepted on a listening socket, or it is shut down. Never blocks, takes nobody.
#[must_use]
pub fn has_pending_connection(listener: BorrowedFd<'_>) -> bool {
    // An error leaves the matter to whoever accepts.
    poll(&mut [PollFd::new(listener, PollFlags::POLLIN)], PollTimeout::ZERO) != Ok(0)
}

/// Whether bytes wait to be read on a connection. Never blocks, takes nothing away.
#[must_use]
pub fn has_pending_bytes(connection: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut byte = [0];
    matches!(recv(connection.as_fd().as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT), Ok(n) if n > 0)
}
