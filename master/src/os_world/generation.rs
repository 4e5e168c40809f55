//! What a generation consists of: settings, sockets, program. Prepared without any effect on the one that serves.

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustcorn_config::{App, Invocation, Problem, Problems, Settings};
use rustcorn_sys::fd::sealed_memfd;
use rustcorn_sys::notify;
use rustcorn_sys::spawn::Image;

use crate::fleet::{Handover, Limits, Plan};
use crate::heritage::{Endowment, HeritageError};
use crate::listeners::{BindError, Listener, bind_all, without_number};
use crate::notice::Notice;

/// What the workers of a configuration run. The facade knows, since it knows the handlers.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Shown in logs and process titles.
    pub name: String,
    /// The file.
    pub program: Program,
}

/// Why a configuration cannot be served. Displayed as one line for each mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    text: String,
    /// 1, or 2 if the command line alone is to blame.
    pub(crate) exit_code: u8,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Self {
        Self { text: problems.to_string(), exit_code: problems.exit_code() }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem]).into()
    }
}

impl From<BindError> for Refusal {
    fn from(error: BindError) -> Self {
        error.to_string().into()
    }
}

impl From<HeritageError> for Refusal {
    fn from(error: HeritageError) -> Self {
        error.to_string().into()
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self { text, exit_code: 1 }
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

const SELF: &str = "/proc/self/exe";
/// Enough for probes while the admin process is being replaced.
const ADMIN_BACKLOG: u32 = 128;
const NO_PROC: &str = "cannot find this program's own file; mount /proc";

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

/// Decides what to launch for an `[app]` table, or says what is wrong with it. Called for the first start and each reload.
pub type Resolve = Box<dyn Fn(&App) -> Result<Launch, Problems>>;

/// Everything a worker of one generation is given.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) settings: Settings,
    /// The settings as the workers read them.
    pub(crate) handoff: OwnedFd,
    pub(crate) listeners: Vec<Rc<Listener>>,
    /// Where the admin process answers, if there shall be one.
    pub(crate) admin: Option<Rc<Listener>>,
    pub(crate) image: Image,
    /// The image's file, where a reload opens it anew.
    pub(crate) file: Option<PathBuf>,
    pub(crate) name: String,
    /// The program's own arguments; `None`: the title takes their place.
    pub(crate) args: Option<Vec<CString>>,
}

/// Where the master's own program was when it started. Read once: after an upgrade on disk the link names a deleted file.
#[derive(Debug)]
pub(crate) struct OwnProgram(Option<PathBuf>);

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

impl Resources {
    /// Reads, checks, binds what is new, opens the program. `present`: the sockets there are; `at_start`: no generation was
    /// loaded yet.
    pub(crate) fn load(
        invocation: &Invocation,
        resolve: &Resolve,
        own: &OwnProgram,
        present: &Endowment,
        at_start: bool,
    ) -> Result<Self, Refusal> {
        let loaded = invocation.load()?;
        let settings = loaded.settings;
        let launch = resolve(&settings.app)?;
        let (path, args) = match &launch.program {
            Program::ThisImage if !Path::new(SELF).exists() => return Err(NO_PROC.into()),
            Program::ThisImage => (PathBuf::from(SELF), None),
            Program::ThisFile => (own.0.clone().ok_or(NO_PROC)?, None),
            Program::Command(words) => {
                let path = look_up(&words[0]);
                let path = path.ok_or_else(|| settings.app.problem("command", &not_found(&words[0])))?;
                (path, Some(words.iter().map(|word| c_string(word.as_bytes())).collect()))
            }
        };
        let image = Image::open(&path).map_err(|error| {
            let text = format!("cannot run {}: {}", path.display(), without_number(&error));
            if args.is_some() { settings.app.problem("command", &text).into() } else { Refusal::from(text) }
        })?;
        let handoff = sealed_memfd("rustcorn-settings", settings.to_toml().as_bytes())
            .map_err(|error| format!("cannot keep the settings in memory: {error}"))?;
        let file = (launch.program != Program::ThisImage).then_some(path);
        // Last, since it is the only step others can see.
        let admin_bind = settings.admin_bind.as_slice();
        let admin = bind_all(admin_bind, &present.admin, ADMIN_BACKLOG, "--admin-bind", at_start)?.pop();
        let listeners = if present.activated {
            present.sockets.clone()
        } else {
            bind_all(&settings.bind, &present.sockets, settings.backlog, "--bind", at_start)?
        };
        Ok(Self { settings, handoff, listeners, admin, image, file, name: launch.name, args })
    }

    pub(crate) fn plan(&self) -> Plan {
        let settings = &self.settings;
        Plan {
            workers: settings.workers,
            max_surge: settings.max_surge,
            timeout: settings.timeout,
            graceful_timeout: settings.graceful_timeout,
            drain_delay: settings.drain_delay,
            flush_timeout: if settings.exports_telemetry() { settings.otlp_flush_timeout } else { Duration::ZERO },
            boot_timeout: settings.boot_timeout,
            restart_backoff: settings.restart_backoff,
            handover: if settings.upgrade == "auto" { Handover::Auto } else { Handover::Manual },
            limits: Limits { max_rss: settings.max_rss, worker_lifetime: settings.worker_lifetime },
        }
    }

    /// The sockets of this generation, for the next one.
    pub(crate) fn endowment(&self, activated: bool) -> Endowment {
        Endowment { sockets: self.listeners.clone(), admin: self.admin.iter().cloned().collect(), activated }
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Rc<Listener>> {
        self.listeners.iter().chain(&self.admin)
    }

    /// Connections that wait to be accepted, on all TCP sockets; `None` if there are none.
    pub(crate) fn backlog(&self) -> Option<u64> {
        self.listeners.iter().filter_map(|listener| listener.waiting()).reduce(|sum, waiting| sum + waiting)
    }

    pub(crate) fn say_admin(&self) {
        if let Some(admin) = &self.admin {
            Notice::AdminListening { address: admin.url().to_owned() }.say();
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.listeners.iter().map(|listener| listener.url().to_owned()).collect()
    }
}

/// The file of a command: as it is if it has a slash, else the first executable of that name in `PATH` (execvp(3)).
fn look_up(word: &str) -> Option<PathBuf> {
    if word.contains('/') {
        return Path::new(word).exists().then(|| word.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(word)).find(|file| Image::open(file).is_ok())
}

fn not_found(word: &str) -> String {
    if word.contains('/') {
        format!(
            "there is no file {word}; build the program first, or write its path as seen from the working directory"
        )
    } else {
        format!("no program {word} in PATH; write its path, such as ./{word}")
    }
}

/// A string for exec. A zero byte cannot be in one; TOML and the environment do not let one through.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>()).expect("zero bytes were left out")
}

/// The environment for workers: the master's, less what was meant for the master alone.
pub(crate) fn environment() -> Vec<CString> {
    environment_without(&notify::VARIABLES)
}

/// The environment for a new master: what this one was given, less what it got for itself.
pub(crate) fn heirs_environment() -> Vec<CString> {
    // The old one's pid is in it. How often to give a sign of life is in the heritage.
    environment_without(&["WATCHDOG_PID", "WATCHDOG_USEC"])
}

fn environment_without(these: &[&str]) -> Vec<CString> {
    let own = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RUSTCORN_HANDOFF"];
    std::env::vars_os()
        .filter(|(name, _)| !own.iter().chain(these).any(|own| name == own))
        .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect()
}
