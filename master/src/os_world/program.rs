//! Programs: which one workers run, and where its file is.

use std::path::{Path, PathBuf};

use rustcorn_config::ForeignReady;
use rustcorn_sys::error::without_number;
use rustcorn_sys::spawn::Image;

pub(super) const NO_PROC: &str = "cannot find this program's own file; mount /proc";

/// What the workers of a configuration run. The facade knows, since it knows the handlers.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Shown in logs and process titles.
    pub name: String,
    /// The file.
    pub program: Program,
    /// It knows nothing of rustcorn.
    pub foreign: Option<ForeignReady>,
}

/// Which file the workers execute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// The very image the master runs, even if its file was replaced meanwhile: for what is built into it.
    ThisImage,
    /// The master's own file as it is on disk at the time of a load, so that a reload runs new code.
    ThisFile,
    /// A program with its arguments, the first being its name: a path, or a name looked up in `PATH`.
    Command(Vec<String>),
}

/// Where the master's own program was when it started. Read once: after an upgrade on disk the link names a deleted file.
#[derive(Debug)]
pub(crate) struct OwnProgram(pub(super) Option<PathBuf>);

impl OwnProgram {
    /// By the name it was called by, if that leads to the file that runs: the name may go through a link, and who changes the link
    /// wants another program.
    pub(crate) fn find(called: &Path) -> Self {
        let running = std::env::current_exe().ok();
        let real = running.as_ref().and_then(|path| path.canonicalize().ok());
        let named = called.to_str().and_then(look_up).and_then(|path| std::path::absolute(path).ok());
        Self(named.filter(|path| real.is_some() && path.canonicalize().ok() == real).or(running))
    }

    /// The file that is there now.
    pub(crate) fn open(&self) -> Result<Image, String> {
        let path = self.0.as_deref().ok_or(NO_PROC)?;
        Image::open(path).map_err(|error| format!("cannot run {}: {}", path.display(), without_number(&error)))
    }
}

/// The file of a command: as it is if it has a slash, else the first executable of that name in `PATH` (execvp(3)).
pub(super) fn look_up(word: &str) -> Option<PathBuf> {
    if word.contains('/') {
        return Path::new(word).exists().then(|| word.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(word)).find(|file| Image::open(file).is_ok())
}

pub(super) fn not_found(word: &str) -> String {
    if word.contains('/') {
        format!(
            "there is no file {word}; build the program first, or write its path as seen from the working directory"
        )
    } else {
        format!("no program {word} in PATH; write its path, such as ./{word}")
    }
}
