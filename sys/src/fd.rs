//! Descriptors as owned values: pipes, sealed memory files, the ones inherited at start, and the one blocking wait.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::time::TimeSpec;

/// A close-on-exec pipe: read end, write end.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Makes reads and writes return `WouldBlock` instead of waiting. The flag belongs to the open file, so every process that
/// shares it sees it (fcntl(2), `F_SETFL`).
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// A file in memory that holds `content` and can never change again (memfd_create(2), `F_ADD_SEALS`): what the master gave a
/// generation stays what it gave.
pub fn sealed_memfd(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// A file in memory that holds `content`, for its owner to change.
pub fn memfd(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    Ok(file.into())
}

/// The same file, open for reading alone: for a process that shall look at it and cannot be trusted to do only that. Needs
/// `/proc`.
pub fn for_reading(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(std::fs::File::open(format!("/proc/self/fd/{}", number(&fd)))?.into()) // std opens close-on-exec
}

/// Takes ownership of descriptors that the parent process placed at `numbers`, and marks them close-on-exec.
///
/// # Errors
/// The first number that is not an open descriptor.
///
/// # Panics
/// When called twice, or with a number twice or below 3: two owners of one descriptor would close each other's.
pub fn take_inherited(numbers: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(!TAKEN.swap(true, Ordering::SeqCst), "inherited descriptors are taken once, first thing in main");
    let distinct = numbers.iter().enumerate().all(|(i, n)| *n >= 3 && !numbers[..i].contains(n));
    assert!(distinct, "inherited descriptors are distinct and not the standard ones");
    for &number in numbers {
        // SAFETY: only borrowed for the call; a number that is not open yields EBADF and ownership is not taken.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(|errno| io::Error::new(io::Error::from(errno).kind(), format!("descriptor {number}: {errno}")))?;
    }
    // SAFETY: all are open (checked above), placed by our parent for us, and TAKEN makes this their only owner.
    Ok(numbers.iter().map(|&number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Takes the lock of an open file for as long as it is open, here or in whoever shares it (flock(2)); false if another has it.
pub fn try_lock(file: &std::fs::File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// What to wait for on a descriptor. A hang-up ends the wait in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// Something to read or to accept, or end-of-file.
    Readable,
    /// Room to write.
    Writable,
    /// Nothing but the hang-up.
    HangUp,
}

impl Interest {
    const fn flags(self) -> PollFlags {
        match self {
            Self::Readable => PollFlags::POLLIN,
            Self::Writable => PollFlags::POLLOUT,
            Self::HangUp => PollFlags::empty(),
        }
    }
}

/// Waits until one of `fds` is what it is watched for, or hung up, or until `timeout` has passed (`None`: no limit). Returns
/// which are. A signal that is not blocked ends the wait early with none (ppoll(2)).
pub fn wait_ready(fds: &[(BorrowedFd<'_>, Interest)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|(fd, interest)| PollFd::new(*fd, interest.flags())).collect();
    match ppoll(&mut polled, timeout.map(TimeSpec::from_duration), None) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(errno) => Err(errno.into()),
    }
}

/// [`wait_ready`] for reading.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let watched: Vec<_> = fds.iter().map(|fd| (*fd, Interest::Readable)).collect();
    wait_ready(&watched, timeout)
}

/// Whether the other end of a connection is closed in both directions, so that nobody is left to read an answer. One that
/// was only shut down for writing is not.
pub fn has_hung_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(wait_ready(&[(fd, Interest::HangUp)], Some(Duration::ZERO))? == [true])
}

/// Reads what is there now: `None` at end-of-file, an empty vector if there is nothing yet. At most 4 KiB a call. The
/// descriptor must be non-blocking.
pub fn read_some(fd: &impl AsFd) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 4096];
    match nix::unistd::read(fd, &mut buffer) {
        Ok(0) => Ok(None),
        Ok(n) => Ok(Some(buffer[..n].to_vec())),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(Some(Vec::new())),
        Err(errno) => Err(errno.into()),
    }
}

/// Raises the soft limit on open descriptors to the hard one: a worker needs one for each connection, and the usual soft limit
/// of 1024 only protects programs that use select(2).
pub fn raise_descriptor_limit() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Whether this process has a controlling terminal (tty(4)), which sends it signals of its own accord.
#[must_use]
pub fn has_terminal() -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    nix::fcntl::open("/dev/tty", flags, nix::sys::stat::Mode::empty()).is_ok()
}

/// The number of a descriptor, to tell another process where it will find it.
#[must_use]
pub fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}
