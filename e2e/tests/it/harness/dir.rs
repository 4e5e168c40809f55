//! A folder for one test, gone after it.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Removed with all it holds when dropped.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        loop {
            let name = format!("rustcorn-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left behind by tests that were killed, and whose process id is ours now.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in one step: whoever reads it meanwhile gets the old text or the new one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.0.join(format!("{name}.new"));
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, self.0.join(name))).expect("the folder is ours");
    }

    /// Copies a program here. By another process: a descriptor open for writing in this one would be inherited for a moment by
    /// whatever another test starts, and a file that somebody may write to cannot be executed (ETXTBSY).
    pub(crate) fn install(&self, name: &str, program: &Path) {
        let copied = Command::new("cp").arg(program).arg(self.0.join(name)).status();
        assert!(copied.is_ok_and(|status| status.success()), "cannot copy {}", program.display());
        std::fs::set_permissions(self.0.join(name), Permissions::from_mode(0o755)).expect("it is ours");
    }
}

impl Dir {
    /// Puts a program in the place of one that may run, in one step. Not written here: a child of this process that is being started
    /// would hold the file open for writing, and nobody could execute it.
    pub(crate) fn replace(&self, name: &str, code: &[u8]) {
        std::fs::write(self.0.join("code"), code).expect("the folder is ours");
        let script = format!("cp code {name}.new && chmod 755 {name}.new && mv -f {name}.new {name}");
        let done = Command::new("sh").args(["-c", &script]).current_dir(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "cannot replace {name}");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
