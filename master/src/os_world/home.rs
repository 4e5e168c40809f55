//! Where relative paths begin: in the directory of the start, or in `chdir`.

use std::io;
use std::path::Path;
use std::rc::Rc;

use rustcorn_sys::directory::Directory;

/// The directory that the master was started in. None if it may not be entered again.
#[derive(Debug)]
pub(crate) struct Home(Option<Rc<Directory>>);

/// As long as it lives, the master is in another directory.
pub(crate) struct Visit<'a>(Option<&'a Directory>);

impl Home {
    pub(crate) fn find() -> Self {
        Self(Directory::current().ok().map(Rc::new))
    }

    /// The directory itself.
    pub(super) fn start(&self) -> Option<&Directory> {
        self.0.as_deref()
    }

    /// The directory of a configuration; a relative one begins at home. `None`: wherever the master is.
    pub(crate) fn directory(&self, chdir: Option<&Path>) -> io::Result<Option<Rc<Directory>>> {
        let found = match (chdir, &self.0) {
            (None, home) => return Ok(home.clone()),
            (Some(path), Some(home)) => home.open(path),
            (Some(path), None) if path.is_absolute() => Directory::at(path),
            (Some(_), None) => {
                Err(io::Error::other("the present directory may not be entered, so write an absolute path"))
            }
        };
        found.map(|directory| Some(Rc::new(directory)))
    }
}

/// Enters a directory to look at what a configuration means there; afterwards the master is back in `present`.
pub(crate) fn visit<'a>(there: Option<&Directory>, present: Option<&'a Directory>) -> io::Result<Visit<'a>> {
    there.map_or(Ok(()), Directory::enter)?;
    Ok(Visit(present))
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(present) = self.0 {
            let _ = present.enter(); // it was entered before, and a descriptor does not go away
        }
    }
}
