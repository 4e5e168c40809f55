//! Signals as readable events, and signals sent to exactly one process.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, killpg, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::pid::Pid;

/// The signals that mean something to a master or a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sig {
    /// Graceful stop.
    Term,
    /// Quick stop (Ctrl-C).
    Int,
    /// Quick stop.
    Quit,
    /// Reload.
    Hup,
    /// One worker more.
    Ttin,
    /// One worker less.
    Ttou,
    /// Reopen log files.
    Usr1,
    /// Upgrade the master's binary.
    Usr2,
    /// Stop the workers, keep the master.
    Winch,
    /// A child changed state.
    Chld,
    /// Abort, with a core dump where those are on.
    Abrt,
    /// The end that cannot be refused.
    Kill,
}

impl Sig {
    const ALL: [(Self, Signal); 12] = [
        (Self::Term, Signal::SIGTERM),
        (Self::Int, Signal::SIGINT),
        (Self::Quit, Signal::SIGQUIT),
        (Self::Hup, Signal::SIGHUP),
        (Self::Ttin, Signal::SIGTTIN),
        (Self::Ttou, Signal::SIGTTOU),
        (Self::Usr1, Signal::SIGUSR1),
        (Self::Usr2, Signal::SIGUSR2),
        (Self::Winch, Signal::SIGWINCH),
        (Self::Chld, Signal::SIGCHLD),
        (Self::Abrt, Signal::SIGABRT),
        (Self::Kill, Signal::SIGKILL),
    ];

    /// What a master listens to.
    const HEARD: [Self; 10] = [
        Self::Term,
        Self::Int,
        Self::Quit,
        Self::Hup,
        Self::Ttin,
        Self::Ttou,
        Self::Usr1,
        Self::Usr2,
        Self::Winch,
        Self::Chld,
    ];

    fn raw(self) -> Signal {
        Self::ALL.iter().find(|(sig, _)| *sig == self).expect("ALL lists every variant").1
    }

    pub(crate) fn number(self) -> i32 {
        self.raw() as i32
    }

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|(_, raw)| *raw as u32 == number).map(|(sig, _)| *sig)
    }
}

/// gunicorn's short lower-case name: `term`, `hup`, ….
impl fmt::Display for Sig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw().as_str()["SIG".len()..].to_ascii_lowercase())
    }
}

/// The name of a signal number as `SIGKILL`, or `signal 42` where it has none (real-time signals).
#[must_use]
pub fn name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

/// The signals of this process as a readable descriptor (signalfd(2)). They stay blocked for good; spawned children start
/// with none blocked.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals and opens the descriptor. To be done first thing: a process that is PID 1 has no default actions,
    /// and one that is not would die of a signal that came before.
    ///
    /// A hang-up that was ignored at start (`nohup`) stays ignored; the others are heard even where a shell started us in
    /// the background with them ignored.
    pub fn listen() -> io::Result<Self> {
        let mut set: SigSet = Sig::HEARD.into_iter().map(Sig::raw).collect();
        // Before their actions become the default: a master may be started with some of them ignored, and be sent one already.
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        for sig in Sig::HEARD {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action runs no code of ours. An ignored SIGCHLD would make the kernel reap our children
            // behind our back.
            let before = unsafe { sigaction(sig.raw(), &default) }?;
            if sig == Sig::Hup && matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: puts back what was there. It must not be blocked: Linux queues a signal that is ignored and blocked.
                unsafe { sigaction(sig.raw(), &before) }?;
                set.remove(sig.raw());
                let mut ignored = SigSet::empty();
                ignored.add(sig.raw());
                sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&ignored), None)?;
            }
        }
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next pending signal, if there is one.
    pub fn next(&self) -> io::Result<Option<Sig>> {
        Ok(self.0.read_signal()?.and_then(|info| Sig::from_number(info.ssi_signo)))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who sends this process a signal, for one that handles it by other means (tokio's).
#[derive(Debug)]
pub struct Sender(Arc<AtomicI32>);

/// No signal has come yet.
const NOBODY: i32 = -1;

impl Sender {
    /// Takes note from now on. To be called before others begin to listen to the signal, so that who hears it finds the sender.
    pub fn of(sig: Sig) -> io::Result<Self> {
        let last = Arc::new(AtomicI32::new(NOBODY));
        let noted = Arc::clone(&last);
        // SAFETY: the action, which runs in a signal handler, is one store and one read of plain memory. The kernel says who has
        // sent what kill(2) and pidfd_send_signal(2) have; 0 is somebody outside of our PID namespace.
        let note = move |info: &libc::siginfo_t| noted.store(unsafe { info.si_pid() }, Relaxed);
        // SAFETY: as above.
        unsafe { signal_hook_registry::register_sigaction(sig.number(), note) }?;
        Ok(Self(last))
    }

    /// Whether one has come, whoever sent it.
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.0.load(Relaxed) != NOBODY
    }

    /// Whether the last one came from somebody else than `pid`.
    #[must_use]
    pub fn is_other_than(&self, pid: Pid) -> bool {
        ![NOBODY, pid.as_raw()].contains(&self.0.load(Relaxed))
    }
}

/// Sends TERM to what is left of a process group whose leader has just been reaped. While anybody is left, the kernel gives
/// the number to nobody else (kill(2)). Nobody, or somebody who has become another user: nothing to end.
pub fn end_group(leader: Pid) -> io::Result<()> {
    match killpg(nix::unistd::Pid::from_raw(leader.as_raw()), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A process held by descriptor: a signal sent through it can never reach another process that was given the same number
/// later, and it becomes readable when the process ends (pidfd_open(2)).
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens `pid`, which must be a child that has not been reaped yet, or the parent.
    pub(crate) fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: takes two integers; returns a new close-on-exec descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        let fd = i32::try_from(fd).expect("descriptors fit in an int");
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The process that started this one, or whoever adopted it since. Only to hear of its end: that is when all its descriptors,
    /// and so its locks, are gone.
    pub fn parent() -> io::Result<Self> {
        let parent = || Pid::from_raw(nix::unistd::getppid().as_raw()).ok_or(io::ErrorKind::NotFound);
        let before = parent()?;
        let handle = Self::open(before)?;
        // Had it ended before, the number could be another's by now.
        if parent()? == before { Ok(handle) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Sends `sig`. A process that has ended already is no error: its end is on the way to whoever waits for it.
    pub fn send(&self, sig: Sig) -> io::Result<()> {
        // SAFETY: integers and a null pointer, which means default signal information (pidfd_send_signal(2)).
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), sig.raw() as i32, std::ptr::null::<()>(), 0)
        };
        match (sent, io::Error::last_os_error()) {
            (0, _) => Ok(()),
            (_, error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            (_, error) => Err(error),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
