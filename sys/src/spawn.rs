//! Starting a worker (fork(2) + execveat(2)) and taking its end (waitid(2)).
//!
//! Workers are exec'd, never only forked: each has its own address-space layout and stack canary, no inherited lock or thread,
//! and the image is run by descriptor, so that replacing the file on disk does not change what a running generation respawns.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, fork};

use crate::directory::Directory;
use crate::identity::Identity;
use crate::pid::Pid;
use crate::signal::{PidFd, Sig};

/// A program held open, so that it can be run again even after its file was replaced or removed.
#[derive(Debug)]
pub struct Image {
    file: OwnedFd,
    /// `#!`: the interpreter opens the script again through `/dev/fd`, so its descriptor must survive the exec.
    script: bool,
}

impl Image {
    /// Opens a program file. It must be executable for us and not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)?;
        let mut file = File::open(path)?; // std opens close-on-exec
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut magic = Vec::with_capacity(2);
        file.by_ref().take(2).read_to_end(&mut magic)?;
        Ok(Self { script: magic == b"#!", file: file.into() })
    }
}

/// What to run and what it gets.
#[derive(Debug)]
pub struct Command<'a> {
    /// The program.
    pub image: &'a Image,
    /// Arguments; the first is the name shown by ps(1).
    pub args: &'a [CString],
    /// The whole environment, `KEY=VALUE` each. `LISTEN_PID` is added here, since only the child knows it.
    pub env: &'a [CString],
    /// Descriptors the child finds from 3 on, in this order. Beside its standard ones it gets no others.
    pub fds: &'a [BorrowedFd<'a>],
    /// What it is to us.
    pub kin: Kin,
    /// Signals that it ignores until it says otherwise: those that reach it before it can listen, or that it knows nothing of,
    /// must not end it. What it executes in turn begins so, too.
    pub ignored: &'a [Sig],
    /// Where a failed exec is reported as `EXEC=<errno>\n`, and the failed step before it as `DIRECTORY=`, `USER=` or `STDIO=`:
    /// the write end of the worker's ready pipe.
    pub report: BorrowedFd<'a>,
    /// In what the child differs from its parent.
    pub attributes: Attributes<'a>,
}

/// What a child does not inherit. The default is to inherit everything.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attributes<'a> {
    /// Who it is.
    pub identity: Option<&'a Identity>,
    /// Where it works. Entered before the identity changes, so it may be one that only the parent may enter.
    pub directory: Option<&'a Directory>,
    /// Permissions that its files do not get (umask(2)).
    pub umask: Option<u32>,
    /// What takes the place of standard input, output and error.
    pub stdio: [Option<BorrowedFd<'a>>; 3],
}

/// What a child is to its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kin {
    /// It ends when its parent does, and is in a process group of its own: a Ctrl-C at the terminal reaches the parent alone,
    /// which then decides.
    Ward,
    /// It will take its parent's place: it lives on, where the parent lived.
    Heir,
}

/// A process we started and have not reaped.
#[derive(Debug)]
pub struct Child {
    /// Its id.
    pub pid: Pid,
    /// The process itself: to signal it, and to hear of its end.
    pub handle: PidFd,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal number.
    Signal(i32),
}

/// The exit status of a child whose exec, or a step before it, failed; the reason is on the report pipe.
pub const EXEC_FAILED: i32 = 127;

const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// Starts a child: no blocked signals, default actions but for those that it shall ignore; a [`Kin::Ward`] in its own process
/// group and with SIGTERM when its parent dies.
///
/// The caller must be single-threaded: between fork and exec only the calling thread exists in the child.
pub fn spawn(command: &Command<'_>) -> io::Result<Child> {
    let mut listen_pid = [LISTEN_PID, &[0; 12]].concat(); // digits are written by the child, which cannot allocate
    let args: Vec<_> = command.args.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    let null = std::ptr::null();
    let mut env: Vec<_> = command.env.iter().map(|s| s.as_ptr()).chain([null, null]).collect();
    let parent = Pid::this();
    let first_free = 3 + RawFd::try_from(command.fds.len()).expect("a handful of descriptors");
    let mut moved = vec![-1; command.fds.len()];
    let ignored: Vec<_> = command.ignored.iter().map(|sig| sig.number()).collect();
    // SAFETY: single-threaded (see above); the child calls only async-signal-safe functions on memory prepared here, and ends
    // in exec or _exit.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            let pid = Pid::from_raw(child.as_raw()).expect("fork gives the parent a positive id");
            // It cannot have been reaped yet (only `reap` does that), so the number is still its own.
            let handle = PidFd::open(pid).inspect_err(|_| {
                // Nobody could signal it, nor hear of its end.
                let _ = kill(child, Signal::SIGKILL); // it has ended by itself
            })?;
            Ok(Child { pid, handle })
        }
        ForkResult::Child => {
            write_digits(&mut listen_pid[LISTEN_PID.len()..], nix::unistd::getpid().as_raw().unsigned_abs());
            env[command.env.len()] = listen_pid.as_ptr().cast();
            let plan = Plan { command, args: &args, env: &env, ignored: &ignored, parent, first_free };
            // SAFETY: we are the fresh child; nothing of the parent's runs here.
            unsafe { plan.exec(&mut moved) }
        }
    }
}

/// The child's half of [`spawn`], with everything allocated beforehand.
struct Plan<'a> {
    command: &'a Command<'a>,
    args: &'a [*const libc::c_char],
    env: &'a [*const libc::c_char],
    ignored: &'a [libc::c_int],
    parent: Pid,
    first_free: RawFd,
}

impl Plan<'_> {
    /// # Safety
    /// Only in a freshly forked child: it gives away descriptor numbers without regard to their owners.
    unsafe fn exec(&self, moved: &mut [RawFd]) -> ! {
        // SAFETY: system calls on integers and on memory that lives until exec; each is async-signal-safe (signal-safety(7)).
        unsafe {
            let ward = self.command.kin == Kin::Ward;
            if ward {
                libc::setpgid(0, 0);
            }
            // An ignored hang-up (nohup) stays ignored; KILL and STOP refuse, which is harmless.
            for number in (1..32).filter(|number| *number != libc::SIGHUP) {
                libc::signal(number, libc::SIG_DFL);
            }
            // Before they are let through below: one that came meanwhile is thrown away now.
            for number in self.ignored {
                libc::signal(*number, libc::SIG_IGN);
            }
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            if let Err(what) = self.become_other() {
                self.fail(self.command.report.as_raw_fd(), what);
            }
            if ward {
                // After the identity: to change it takes this back (prctl(2)).
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                // The parent may have died before the line above: then nobody would ever tell us. (An heir lives on all the
                // more: it finds its parent gone and takes over at once.)
                if libc::getppid() != self.parent.as_raw() {
                    libc::_exit(0);
                }
            }
            // What our own parent left open without close-on-exec is not the worker's either. Before Linux 5.11 it gets it.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            // Out of the way first, so that placing one does not overwrite another that is still to be placed.
            let report = libc::fcntl(self.command.report.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.first_free);
            let image = libc::fcntl(self.command.image.file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.first_free);
            if image >= 0 && self.place(moved) {
                if self.command.image.script {
                    libc::fcntl(image, libc::F_SETFD, 0);
                }
                let (args, env) = (self.args.as_ptr(), self.env.as_ptr());
                libc::syscall(libc::SYS_execveat, image, c"".as_ptr(), args, env, libc::AT_EMPTY_PATH);
            }
            // errno is that of the first call that failed: each of the above stops there.
            self.fail(report, b"EXEC=")
        }
    }

    /// Ends the child with the word for what failed, and errno.
    ///
    /// # Safety
    /// As [`Self::exec`].
    unsafe fn fail(&self, report: RawFd, what: &[u8]) -> ! {
        // SAFETY: as in `exec`; the word is short.
        unsafe {
            let mut message = [0; 32];
            message[..what.len()].copy_from_slice(what);
            let digits = write_digits(&mut message[what.len()..], (*libc::__errno_location()).unsigned_abs());
            let length = what.len() + digits;
            message[length] = b'\n';
            libc::write(report, message.as_ptr().cast(), length + 1);
            libc::_exit(EXEC_FAILED)
        }
    }

    /// What the child shall not inherit. The error is the word for what failed, with errno set.
    ///
    /// # Safety
    /// As [`Self::exec`].
    unsafe fn become_other(&self) -> Result<(), &'static [u8]> {
        let Attributes { identity, directory, umask, stdio } = &self.command.attributes;
        // SAFETY: as in `exec`. In a process with one thread the calls on identity are plain system calls.
        unsafe {
            for (number, from) in (0..).zip(stdio) {
                if from.is_some_and(|from| libc::dup2(from.as_raw_fd(), number) < 0) {
                    return Err(b"STDIO=");
                }
            }
            if directory.is_some_and(|directory| libc::fchdir(directory.as_fd().as_raw_fd()) < 0) {
                return Err(b"DIRECTORY=");
            }
            if let Some(mask) = umask {
                libc::umask(*mask);
            }
            if let Some(Identity { uid, gid, groups }) = identity
                // The user last: it may not change the others.
                && (libc::setgroups(groups.len(), groups.as_ptr()) < 0
                    || libc::setresgid(*gid, *gid, *gid) < 0
                    || libc::setresuid(*uid, *uid, *uid) < 0)
            {
                return Err(b"USER=");
            }
        }
        Ok(())
    }

    /// Puts the descriptors where the child expects them; false with errno set as soon as one cannot be.
    ///
    /// # Safety
    /// As [`Self::exec`].
    unsafe fn place(&self, moved: &mut [RawFd]) -> bool {
        // SAFETY: as in `exec`.
        unsafe {
            for (to, from) in moved.iter_mut().zip(self.command.fds) {
                *to = libc::fcntl(from.as_raw_fd(), libc::F_DUPFD_CLOEXEC, self.first_free);
                if *to < 0 {
                    return false;
                }
            }
            (3..).zip(moved.iter()).all(|(number, from)| libc::dup2(*from, number) >= 0) // clears close-on-exec
        }
    }
}

/// Decimal digits without allocation; returns how many. `buffer` has room for ten and one more.
fn write_digits(buffer: &mut [u8], mut number: u32) -> usize {
    let mut reversed = [0; 10];
    let mut count = 0;
    loop {
        reversed[count] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        count += 1;
        if number == 0 {
            break;
        }
    }
    for (to, from) in buffer.iter_mut().zip(reversed[..count].iter().rev()) {
        *to = *from;
    }
    count
}

/// Takes one ended child, ours or (as PID 1) an adopted stranger. `None` when there is none now. The only place in the tree
/// that waits for processes.
///
/// By libc, since nix reports a child that died of a real-time signal as an error, after the kernel has forgotten it.
pub fn reap() -> io::Result<Option<(Pid, Exit)>> {
    loop {
        // SAFETY: siginfo_t is plain data; waitid fills it, and leaves si_pid 0 when nobody has ended (WNOHANG).
        let (result, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG), info)
        };
        if result == 0 {
            // SAFETY: for WEXITED the kernel fills the fields of SIGCHLD.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            let exit = if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
            return Ok(Pid::from_raw(pid).map(|pid| (pid, exit)));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// Names the calling thread, and with it the process in `ps -o comm` and `top`: a program run by descriptor would show the
/// descriptor's number. Cut to 15 bytes (prctl(2), `PR_SET_NAME`).
pub fn set_process_name(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: a pointer to a zero-terminated string that lives during the call.
    match unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
