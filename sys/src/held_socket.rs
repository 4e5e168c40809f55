//! A unix socket that one process holds: nobody can take its path over, nobody can connect before it has its permissions, and
//! it knows who connects.
//!
//! The path is held by a lock (flock(2)) on a file beside it. The kernel lets go of the lock when the last process that has the
//! file open is gone, however it went, so a socket without a lock is a stale one and is replaced, without guessing by the
//! process id of somebody who may have been followed by another.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};

use crate::error::without_number;
use crate::file::FileId;
use crate::socket::bind_unix;

/// The listening socket, its path, and the lock that holds both. Its drop removes the files, if they are still these.
#[derive(Debug)]
pub struct HeldSocket {
    listener: UnixListener,
    /// Where it is, whatever becomes of the working directory.
    socket: Place,
    lock: Place,
    /// Open, and so locked, as long as this lives.
    _locked: File,
}

/// Who is at the other end, as the kernel knows it from the time of the connect (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The process, if it is one of this pid namespace.
    pub pid: Option<crate::Pid>,
    /// Its effective user.
    pub uid: u32,
}

impl Peer {
    /// Whether it is root or this process's own user, who could do to this process what they like anyway.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::geteuid().as_raw()
    }
}

/// A path and the file that was found there.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    file: FileId,
}

impl Place {
    fn of(path: PathBuf) -> io::Result<Self> {
        let file = FileId::at(&path)?;
        Ok(Self { path, file })
    }

    fn is_still_there(&self) -> bool {
        FileId::at(&self.path).is_ok_and(|now| now == self.file)
    }

    fn remove(&self) {
        if self.is_still_there() {
            // Removed by somebody else in this moment: then there is nothing to remove.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl HeldSocket {
    /// Takes the lock, replaces a stale socket, and listens with `mode` as the permissions. Needs a thread that is alone in its
    /// process, since the umask is the process's.
    ///
    /// # Errors
    /// `AddrInUse`, with the holder's pid in the message where it is known, if a living process has the path; `AlreadyExists`
    /// if something other than a socket is there; and the system's own.
    pub fn bind(path: &Path, mode: u32, backlog: u32) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        let (locked, lock) = lock_beside(&absolute)?;
        let bound = bind_with_mode(path, mode, backlog)
            .and_then(|listener| Ok((listener, Place::of(absolute)?)))
            .inspect_err(|_| lock.remove());
        let (listener, socket) = bound?;
        Ok(Self { listener, socket, lock, _locked: locked })
    }

    /// Where it is: absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.socket.path
    }

    /// Other permissions from now on.
    ///
    /// # Errors
    /// The system's; or the file is not ours any more.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if !self.socket.is_still_there() {
            return Err(io::Error::new(ErrorKind::NotFound, "somebody has removed or replaced the socket"));
        }
        std::fs::set_permissions(&self.socket.path, Permissions::from_mode(mode))
    }

    /// The next connection, non-blocking; `None` if there is none.
    ///
    /// # Errors
    /// Out of descriptors or memory: there is a connection, and it cannot be taken now.
    pub fn accept(&self) -> io::Result<Option<(UnixStream, Peer)>> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => return Ok(None),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let peer = getsockopt(&stream, PeerCredentials)?;
        Ok(Some((stream, Peer { pid: crate::Pid::from_raw(peer.pid()), uid: peer.uid() })))
    }
}

impl AsFd for HeldSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for HeldSocket {
    fn drop(&mut self) {
        self.socket.remove();
        self.lock.remove(); // last, and still locked: nobody else can hold the path before both are gone
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Opens and locks the file beside `socket`.
fn lock_beside(socket: &Path) -> io::Result<(File, Place)> {
    let path = lock_path(socket);
    for _ in 0..100 {
        // Not truncated: it says who holds it.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {}", path.display(), without_number(&error))))?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(ErrorKind::AlreadyExists, format!("{} is no plain file", path.display())));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = file.read_to_string(&mut holder).is_ok() && holder.trim().parse::<u32>().is_ok();
                let by = if known { format!(" by process {}", holder.trim()) } else { String::new() };
                return Err(io::Error::new(ErrorKind::AddrInUse, format!("it is held{by}")));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let place = Place { path: path.clone(), file: FileId::from(&meta) };
        // Its last holder may have removed it between our open and our lock: then we have locked a file that nobody else finds.
        if place.is_still_there() {
            sign(&file)?;
            return Ok((file, place));
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, format!("{} does not stay where it is", path.display())))
}

/// Says in the locked file who holds it. For people and messages; the lock is what counts.
fn sign(mut file: &File) -> io::Result<()> {
    use std::io::Seek;
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The socket's file is made with its permissions (bind(2) applies the umask), and nobody is let in before listen(2).
fn bind_with_mode(path: &Path, mode: u32, backlog: u32) -> io::Result<UnixListener> {
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = bind_unix(path);
    umask(before);
    let socket = bound?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(OwnedFd::from(socket).into())
}
