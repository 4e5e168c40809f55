//! Which file: two names, or a name and a descriptor, may mean the same one, or no longer.

use std::fs::Metadata;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file, whatever it is called. Its inode may go to another one once it is gone, unless somebody has it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// What a descriptor means (fstat(2)).
    ///
    /// # Errors
    /// The system's.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let is = nix::sys::stat::fstat(fd)?;
        Ok(Self { device: is.st_dev, inode: is.st_ino })
    }

    /// What is at a path; of a symbolic link that itself (lstat(2)).
    ///
    /// # Errors
    /// The system's, above all that nothing is there.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&std::fs::symlink_metadata(path)?))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}
