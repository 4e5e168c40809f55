//! Files below one directory, and never outside of it, whatever a path or a link says: the kernel sees to it (openat2(2)).

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// An open directory. It stays the directory that it was when it was opened, also if another one takes its name.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the directory, through links if need be.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = Self(open(path, flags, Mode::empty())?);
        match root.file(Path::new(".")) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOSYS as i32) => {
                Err(io::Error::other("the kernel cannot open files beneath a directory; Linux 5.6 can"))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(root),
        }
    }

    /// Opens a file or directory to read it, by a path relative to this directory. Links are followed as long as they stay
    /// inside; `EXDEV` for one that leaves, and for an absolute one. Does not wait for the other side of a pipe.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags).resolve(resolve);
        loop {
            match openat2(&self.0, path, how) {
                // Something was renamed meanwhile, and the kernel cannot tell any more whether the path stays inside.
                Err(Errno::EAGAIN) => {}
                opened => return Ok(opened?.into()),
            }
        }
    }
}

/// Whether [`Root::file`] failed since there is nothing that may be read by this path, rather than for a lack of means.
#[must_use]
pub fn is_absent(error: &io::Error) -> bool {
    const ABSENT: [Errno; 10] = [
        Errno::ENOENT,
        Errno::ENOTDIR,
        Errno::EACCES,
        Errno::EPERM,
        Errno::EXDEV,
        Errno::ELOOP,
        Errno::ENAMETOOLONG,
        Errno::EINVAL, // a zero byte in the path
        Errno::ENXIO,  // a socket
        Errno::ENODEV,
    ];
    ABSENT.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside_and_nothing_leads_outside() {
        let dir = std::env::temp_dir().join(format!("rustcorn-beneath-{}", std::process::id()));
        let root = dir.join("site");
        fs::create_dir_all(root.join("deep")).expect("a free name");
        fs::write(root.join("deep/inside"), "inside").expect("ours");
        fs::write(dir.join("secret"), "secret").expect("ours");
        symlink("deep/inside", root.join("link")).expect("ours");
        symlink("../secret", root.join("out")).expect("ours");
        symlink(dir.join("secret"), root.join("absolute")).expect("ours");
        symlink("../../site/deep/inside", root.join("deep/around")).expect("ours");
        symlink(&root, dir.join("current")).expect("ours");

        let opened = Root::open(&dir.join("current")).expect("the link leads to a directory");
        let read = |path: &str| {
            let mut text = String::new();
            opened.file(Path::new(path))?.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        for path in ["deep/inside", "link", "./deep/../link"] {
            assert_eq!(read(path).expect("inside"), "inside", "{path}");
        }
        for path in ["out", "absolute", "../secret", "deep/../../secret", "deep/around", "/etc/hostname"] {
            let error = read(path).expect_err("outside");
            assert!(error.raw_os_error() == Some(Errno::EXDEV as i32) && is_absent(&error), "{path}: {error}");
        }
        fs::remove_dir_all(&dir).expect("ours");
        assert_eq!(Root::open(&root).map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    }
}
