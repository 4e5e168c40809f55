//! The pidfile: tells others which process the master is, and keeps a second server off.
//!
//! As gunicorn's, and safer in what counts as a server that still runs. The file is locked (flock(2)) for as long as its master
//! lives, however that ends: whoever holds the lock runs. A file that nobody has locked is left over, unless the process it
//! names lives and was there when the file was written, as that of another server's would be; a process that got the number
//! later, after a reboot perhaps, is none.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustcorn_sys::Pid;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::try_lock;
use rustcorn_sys::file::FileId;
use rustcorn_sys::procfs::started;

/// A file that holds our process id. Dropped, it is removed, unless somebody else's has taken its place.
#[derive(Debug)]
pub(crate) struct Pidfile {
    /// Absolute, since the working directory may change.
    path: PathBuf,
    /// Open for its lock.
    file: File,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum PidfileError {
    /// Another server holds it.
    Running { path: PathBuf, pid: Option<Pid> },
    /// What is there is something else.
    NoPidfile { path: PathBuf },
    /// The system does not let us.
    System { path: PathBuf, error: io::Error },
}

impl fmt::Display for PidfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { path, pid: Some(pid) } => write!(
                f,
                "Already running on PID {pid} (or pid file is stale): {}; stop that server, or choose another file with --pid",
                path.display()
            ),
            Self::Running { path, pid: None } => write!(
                f,
                "Already running: another process holds {}; stop that server, or choose another file with --pid",
                path.display()
            ),
            Self::NoPidfile { path } => write!(
                f,
                "{} is there and is not a pidfile, so it is left alone; choose another file with --pid",
                path.display()
            ),
            Self::System { path, error } => write!(
                f,
                "cannot write the pidfile {}: {}; check the directory and its permissions, or choose another file with --pid",
                path.display(),
                without_number(error)
            ),
        }
    }
}

/// More than a process id and the blanks around it.
const LONGEST: u64 = 32;

impl Pidfile {
    /// Writes our process id to `path`, in one step: whoever looks sees the old content or the new.
    ///
    /// # Errors
    /// Where another server holds the file, see [`Self::check`].
    pub(crate) fn create(path: &Path) -> Result<Self, PidfileError> {
        let failed = |error| PidfileError::System { path: path.to_owned(), error };
        let path = std::path::absolute(path).map_err(failed)?;
        let failed = |error| PidfileError::System { path: path.clone(), error };
        Self::check(&path)?;
        let temporary = beside(&path).map_err(failed)?;
        let file = write(&temporary).map_err(failed)?;
        if let Err(error) = std::fs::rename(&temporary, &path) {
            let _ = std::fs::remove_file(&temporary); // what is left behind harms nobody
            return Err(failed(error));
        }
        Ok(Self { path, file })
    }

    /// Whether `path` can become ours, without any effect: the directory is there, and no other server holds the file.
    pub(crate) fn check(path: &Path) -> Result<(), PidfileError> {
        let failed = |error| PidfileError::System { path: path.to_owned(), error };
        let meta = match std::fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let folder = std::fs::metadata(folder.unwrap_or(Path::new("."))).map_err(failed)?;
                return if folder.is_dir() { Ok(()) } else { Err(failed(ErrorKind::NotADirectory.into())) };
            }
            Err(error) => return Err(failed(error)),
        };
        if !meta.is_file() || meta.len() > LONGEST {
            return Err(PidfileError::NoPidfile { path: path.to_owned() });
        }
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()), // removed at this moment
            Err(error) => return Err(failed(error)),
        };
        let mut text = String::new();
        let pid = match file.read_to_string(&mut text) {
            Ok(_) => text.trim().parse().ok().and_then(Pid::from_raw),
            Err(_) => None, // no text, so no number
        };
        if pid == Some(Pid::this()) {
            return Ok(()); // ours, or left behind by one that had the same number, as in a container where all are 1
        }
        let locked = !try_lock(&file).map_err(failed)?;
        // Two seconds: the one counts in hundredths, the other perhaps in whole ones.
        let there = |pid| started(pid).is_some_and(|since| since <= meta.mtime() + 2);
        if locked || pid.is_some_and(there) {
            return Err(PidfileError::Running { path: path.to_owned(), pid });
        }
        Ok(())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file, in one step: a master that was upgraded takes over its predecessor's name.
    ///
    /// # Errors
    /// Where another server holds the name: the predecessor, which is gone, may have had another.
    pub(crate) fn rename_to(&mut self, path: &Path) -> Result<(), PidfileError> {
        let failed = |error| PidfileError::System { path: path.to_owned(), error };
        let to = std::path::absolute(path).map_err(failed)?;
        if !self.is_ours() {
            // Somebody removed or replaced it, so there is nothing of ours to move.
            *self = Self::create(&to)?;
            return Ok(());
        }
        Self::check(&to)?;
        std::fs::rename(&self.path, &to).map_err(failed)?;
        self.path = to;
        Ok(())
    }

    fn is_ours(&self) -> bool {
        let there = FileId::at(&self.path);
        FileId::of(self.file.as_fd()).is_ok_and(|ours| there.is_ok_and(|there| ours == there))
            && std::fs::read_to_string(&self.path).is_ok_and(|text| text == content())
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = std::fs::remove_file(&self.path); // gone at this moment is as good
        }
    }
}

fn content() -> String {
    format!("{}\n", Pid::this())
}

/// A name in the same directory, for a file that is renamed.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{}.new", Pid::this()));
    Ok(path.with_file_name(name))
}

/// Our process id in a file, locked.
fn write(path: &Path) -> io::Result<File> {
    let written = || {
        // One of this name can only be left over from a master that crashed here with our number.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
        file.set_permissions(Permissions::from_mode(0o644))?; // whatever the umask
        if !try_lock(&file)? {
            return Err(ErrorKind::ResourceBusy.into());
        }
        file.write_all(content().as_bytes())?;
        Ok(file)
    };
    written().inspect_err(|_| drop(std::fs::remove_file(path)))
}

#[cfg(test)]
mod tests;
