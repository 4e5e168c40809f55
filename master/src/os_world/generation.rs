//! What a generation consists of: settings, sockets, program. Prepared without any effect on the one that serves.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustcorn_config::{App, ForeignReady, Invocation, Loaded, Problem, Problems, Settings, Shown};
use rustcorn_sys::directory::Directory;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::sealed_memfd;
use rustcorn_sys::held_socket::HeldSocket;
use rustcorn_sys::identity::Identity;
use rustcorn_sys::socket::Access;
use rustcorn_sys::spawn::{Attributes, Image};
use rustcorn_tls::Material;

use super::error_log::LogFile;
use super::home::{Home, visit};
use super::program::{Launch, NO_PROC, OwnProgram, Program, look_up, not_found};
use super::tls;
use crate::control;
use crate::fleet::{Foreign, Handover, Limits, Plan};
use crate::heritage::{Endowment, HeritageError};
use crate::hooks::Hooks;
use crate::identity;
use crate::lanes::Lanes;
use crate::listeners::{BindError, Listener, Terms, bind_all};
use crate::notice::Notice;
use crate::pidfile::{Pidfile, PidfileError};

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

impl From<PidfileError> for Refusal {
    fn from(error: PidfileError) -> Self {
        error.to_string().into()
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
/// What runs so long, and tells nobody, will not fail to start any more.
const SETTLES: Duration = Duration::from_secs(1);

/// Decides what to launch for an `[app]` table, or says what is wrong with it. Called for the first start and each reload.
pub type Resolve = Box<dyn Fn(&App) -> Result<Launch, Problems>>;

/// Everything a worker of one generation is given.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) settings: Settings,
    /// The same for people, with where each value came from.
    pub(crate) shown: Vec<Shown>,
    /// The settings as the workers read them, and what they need to speak TLS.
    pub(crate) handoff: OwnedFd,
    pub(crate) tls: Option<Material>,
    pub(crate) listeners: Vec<Rc<Listener>>,
    /// Where the admin process answers, if there shall be one.
    pub(crate) admin: Option<Rc<Listener>>,
    pub(crate) log: LogFile,
    pub(crate) access_log: Option<LogFile>,
    /// Where the master answers, if it shall.
    pub(crate) control: Option<Rc<HeldSocket>>,
    pub(crate) image: Image,
    /// The image's file, where a reload opens it anew.
    pub(crate) file: Option<PathBuf>,
    pub(crate) name: String,
    pub(crate) foreign: Option<ForeignReady>,
    /// The program's own arguments; `None`: the title takes their place.
    pub(crate) args: Option<Vec<CString>>,
    /// Who workers are; `None`: who the master is.
    pub(crate) identity: Option<Identity>,
    /// Where they work.
    pub(crate) directory: Option<Rc<Directory>>,
    /// With `reuse_port`.
    pub(crate) lanes: Option<Rc<Lanes>>,
}

/// What a configuration is loaded into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) own: &'a OwnProgram,
    pub(crate) home: &'a Home,
    pub(crate) hooks: &'a Hooks,
    /// As the master found it.
    pub(crate) standard_error: BorrowedFd<'a>,
    /// The sockets there are.
    pub(crate) sockets: &'a Endowment,
    /// The generation in force; `None` before the first.
    pub(crate) present: Option<&'a Resources>,
    /// An older master serves beside this one.
    pub(crate) has_parent: bool,
}

/// The name of a file (pidfile, control socket) that is one master's alone. As long as the parent lives, that has the name.
pub(crate) fn name_beside_parent(path: Option<&Path>, has_parent: bool) -> Option<PathBuf> {
    let mut name = path?.as_os_str().to_owned();
    if has_parent {
        name.push(".2");
    }
    Some(name.into())
}

impl Resources {
    /// Reads, checks, opens log and program, binds what is new.
    pub(crate) fn load(invocation: &Invocation, resolve: &Resolve, around: &Around<'_>) -> Result<Self, Refusal> {
        let loaded = invocation.load()?;
        let identity = identity::resolve(&loaded.settings, &loaded.origins)?;
        let directory = directory(around.home, &loaded)?;
        let back = around.present.and_then(|present| present.directory.as_deref());
        let _visit = visit(directory.as_deref(), back).map_err(|error| no_directory(&loaded, &error))?;
        let (log, access_log) = LogFile::open_both(&loaded, around.standard_error)?;
        let tls = tls::load(&loaded, around.sockets)?;
        let shown = loaded.shown();
        let mut settings = loaded.settings;
        if let Some(path) = name_beside_parent(settings.pidfile.as_deref(), around.has_parent) {
            Pidfile::check(&path)?; // the one that is ours already passes
        }
        let launch = resolve(&settings.app)?;
        let (path, args) = match &launch.program {
            Program::ThisImage if !Path::new(SELF).exists() => return Err(NO_PROC.into()),
            Program::ThisImage => (PathBuf::from(SELF), None),
            Program::ThisFile => (around.own.0.clone().ok_or(NO_PROC)?, None),
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
        settings.name_for_syslog(&launch.name);
        let text = settings.to_toml() + &tls.as_ref().map_or_else(String::new, Material::to_toml);
        let handoff = sealed_memfd("rustcorn-settings", text.as_bytes())
            .map_err(|error| format!("cannot keep the settings in memory: {error}"))?;
        // As it is seen from here, which with `chdir` is another place than the start.
        let file = (launch.program != Program::ThisImage).then(|| std::path::absolute(&path).unwrap_or(path));
        around.hooks.agree(around.present.map(|present| &present.settings), &settings)?;
        // Last, since it is the only step others can see.
        let at_start = around.present.is_none();
        let access = access(&settings, identity.as_ref());
        let terms = Terms { backlog: ADMIN_BACKLOG, access, lanes: None, flag: "--admin-bind", at_start };
        let admin = bind_all(settings.admin_bind.as_slice(), &around.sockets.admin, &terms)?.pop();
        let control = name_beside_parent(settings.control_socket.as_deref(), around.has_parent);
        let mode = settings.control_socket_mode;
        let present = around.present.and_then(|of| of.control.as_ref());
        let control = control.map(|path| control::socket::bind(&path, mode, present)).transpose()?;
        let listeners = if around.sockets.activated {
            around.sockets.sockets.clone()
        } else {
            let lanes = settings.reuse_port.then_some(settings.workers);
            let terms = Terms { backlog: settings.backlog, access, lanes, flag: "--bind", at_start };
            bind_all(&settings.bind, &around.sockets.sockets, &terms)?
        };
        let lanes = match listeners.iter().map(|listener| listener.sockets().len()).max() {
            Some(count) if count > 1 => {
                let made = Lanes::new(count);
                Some(made.map_err(|error| format!("cannot make the table of reuse_port: {}", without_number(&error)))?)
            }
            _ => None,
        };
        let Launch { name, foreign, .. } = launch;
        Ok(Self {
            settings,
            shown,
            handoff,
            tls,
            listeners,
            admin,
            control,
            log,
            access_log,
            image,
            file,
            name,
            foreign,
            args,
            identity,
            directory,
            lanes,
        })
    }

    /// In process titles.
    pub(crate) fn title(&self) -> &str {
        if self.settings.proc_name.is_empty() { &self.name } else { &self.settings.proc_name }
    }

    /// In what its processes differ from the master.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            identity: self.identity.as_ref(),
            directory: self.directory.as_deref(),
            umask: self.settings.umask,
            stdio: [None; 3],
        }
    }

    /// Gives the files of unix sockets that were there before the permissions of this configuration.
    pub(crate) fn set_access(&self) -> impl Iterator<Item = (&Listener, io::Result<()>)> {
        let access = access(&self.settings, self.identity.as_ref());
        self.listeners.iter().chain(&self.admin).map(move |listener| (&**listener, listener.set_access(access)))
    }

    /// Gives sockets that were there before the queue of this configuration. A service manager's keep theirs.
    pub(crate) fn set_backlog(&self) -> impl Iterator<Item = (&Listener, io::Result<()>)> {
        let backlog = self.settings.backlog;
        let ours = self.listeners.iter().filter(|listener| !listener.is_foreign());
        ours.map(move |listener| (&**listener, listener.set_backlog(backlog)))
    }

    pub(crate) fn plan(&self) -> Plan {
        let settings = &self.settings;
        let settles = |ready| (ready == ForeignReady::Exec).then_some(SETTLES.min(settings.boot_timeout / 2));
        Plan {
            workers: settings.workers,
            max_surge: settings.max_surge,
            // Nobody sees a foreign one hang.
            timeout: if self.foreign.is_some() { Duration::ZERO } else { settings.timeout },
            graceful_timeout: settings.graceful_timeout,
            drain_delay: settings.drain_delay,
            flush_timeout: if settings.exports_telemetry() { settings.otlp_flush_timeout } else { Duration::ZERO },
            boot_timeout: settings.boot_timeout,
            restart_backoff: settings.restart_backoff,
            handover: if settings.upgrade == "auto" { Handover::Auto } else { Handover::Manual },
            limits: Limits { max_rss: settings.max_rss, worker_lifetime: settings.worker_lifetime },
            foreign: self.foreign.map(|ready| Foreign { settles: settles(ready) }),
        }
    }

    /// What the next generation takes over from this one.
    pub(crate) fn endowment(&self, activated: bool) -> Endowment {
        let (sockets, admin) = (self.listeners.clone(), self.admin.iter().cloned().collect());
        let tickets = self.tls.as_ref().map(|tls| tls.tickets().clone());
        Endowment { sockets, admin, activated, tls: self.tls.clone(), tickets }
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

    pub(crate) fn say_control(&self) {
        if let Some(control) = &self.control {
            Notice::ControlListening { path: control.path().display().to_string() }.say();
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https://" } else { "http://" };
        self.listeners.iter().map(|listener| listener.url().replacen("http://", scheme, 1)).collect()
    }
}

/// Who may connect to unix sockets. With gunicorn's umask of 0 that is everybody, so here 0660 is the default: the user, and a
/// group to which a proxy can belong.
fn access(settings: &Settings, identity: Option<&Identity>) -> Access {
    let by_umask = settings.umask.map(|mask| 0o777 & !mask);
    let mode = settings.socket_mode.or(by_umask).unwrap_or(0o660);
    Access { mode, owner: identity.map(|identity| (identity.uid, identity.gid)) }
}

fn directory(home: &Home, loaded: &Loaded) -> Result<Option<Rc<Directory>>, Refusal> {
    home.directory(loaded.settings.chdir.as_deref()).map_err(|error| no_directory(loaded, &error))
}

fn no_directory(loaded: &Loaded, error: &io::Error) -> Refusal {
    let path = loaded.settings.chdir.as_deref().unwrap_or(Path::new("."));
    let text = format!("cannot work in {}: {}; name a directory that is there", path.display(), without_number(error));
    Problem::new(loaded.origins.get("chdir"), "chdir", &text).into()
}

/// What `--check-config` looks at besides the values: what only this machine can tell.
pub(crate) fn check(loaded: &Loaded) -> Result<(), Refusal> {
    identity::resolve(&loaded.settings, &loaded.origins)?;
    let home = Home::find();
    let directory = directory(&home, loaded)?;
    let _visit = visit(directory.as_deref(), home.start()).map_err(|error| no_directory(loaded, &error))?;
    Material::load(loaded, None)?;
    Ok(())
}

/// A string for exec. A zero byte cannot be in one; TOML and the environment do not let one through.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>()).expect("zero bytes were left out")
}
