//! Working directories, held open so that a process can return to one, or start in one, whatever became of its path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;

/// A directory.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// The one this process works in. An error if it may not be entered again.
    pub fn current() -> io::Result<Self> {
        open(AT_FDCWD, Path::new("."))
    }

    /// The one at an absolute path.
    pub fn at(path: &Path) -> io::Result<Self> {
        open(AT_FDCWD, path)
    }

    /// The one at `path`, which begins here if it is relative.
    pub fn open(&self, path: &Path) -> io::Result<Self> {
        open(self.0.as_fd(), path)
    }

    /// From now on relative paths of this process begin there.
    pub fn enter(&self) -> io::Result<()> {
        Ok(fchdir(&self.0)?)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(base: BorrowedFd<'_>, path: &Path) -> io::Result<Directory> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(Directory(openat(base, path, flags, Mode::empty())?))
}
