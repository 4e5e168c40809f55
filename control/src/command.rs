//! The commands, as words and as a type.

use std::fmt;

/// For those who ask what there is.
pub const HELP: &str = "\
show workers             each worker: what it is, does, and has done
show stats               the server as a whole
show config              every setting, its value and where it came from
show listeners           the addresses, and how many connections wait at each
show durations           how long requests took, as counts by duration
show all                 all of these but the durations
worker add [N]           N workers more (1)
worker remove [N]        N workers less (1), never below 1
worker restart [WHICH]   replace one worker, or all; the successor is ready before the old one leaves
worker kill WHICH        let one worker finish and leave at once; its successor comes afterwards
reload                   as SIGHUP: read the configuration again, and replace the workers if it is good
reopen                   as SIGUSR1: open the log files again
shutdown [MANNER]        graceful (as SIGTERM) or quick (as SIGINT)
help                     this list
WHICH is a pid or a slot, as a number or, where that could be either, as pid:N or slot:N.
reload, worker add, worker restart and worker kill wait with --wait until it is done.";

/// What is asked of a master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// What there is.
    Help,
    /// [`crate::data::Workers`].
    ShowWorkers,
    /// [`crate::data::Stats`].
    ShowStats,
    /// [`crate::data::Config`].
    ShowConfig,
    /// [`crate::data::Listeners`].
    ShowListeners,
    /// [`crate::data::Durations`].
    ShowDurations,
    /// [`crate::data::All`].
    ShowAll,
    /// So many more.
    Add {
        /// At least 1.
        count: usize,
        /// Until they are ready.
        wait: bool,
    },
    /// So many less.
    Remove {
        /// At least 1.
        count: usize,
    },
    /// A replacement.
    Restart {
        /// `None`: all.
        which: Option<Which>,
        /// Until it is done.
        wait: bool,
    },
    /// An end.
    Kill {
        /// Of this one.
        which: Which,
        /// Until its successor is ready.
        wait: bool,
    },
    /// A new generation.
    Reload {
        /// Until it has replaced the old one.
        wait: bool,
    },
    /// The log files.
    Reopen,
    /// The end of it all.
    Shutdown {
        /// Without finishing requests.
        quick: bool,
    },
}

/// One worker, as somebody names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// A pid if there is a worker with it, else a slot.
    Number(u32),
    /// A process.
    Pid(u32),
    /// A seat.
    Slot(u32),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Slot(slot) => write!(f, "slot:{slot}"),
        }
    }
}

impl Which {
    /// Reads `N`, `pid:N` or `slot:N`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(word: &str) -> Result<Self, String> {
        let (make, digits): (fn(u32) -> Self, _) = match word.split_once(':') {
            None => (Self::Number, word),
            Some(("pid", digits)) => (Self::Pid, digits),
            Some(("slot", digits)) => (Self::Slot, digits),
            Some(_) => (Self::Number, ""),
        };
        number(digits)
            .map(make)
            .ok_or_else(|| format!("{word:?} is no worker; use a pid or a slot: N, pid:N or slot:N"))
    }
}

impl Command {
    /// Reads words.
    ///
    /// # Errors
    /// What is wrong with them, in one sentence.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let (options, words): (Vec<&str>, Vec<&str>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with('-'));
        let wait = match options[..] {
            [] => false,
            ["--wait"] => true,
            _ => return Err(format!("unknown option in {:?}; there is --wait", options.join(" "))),
        };
        let command = match words[..] {
            ["help"] => Self::Help,
            ["show", "workers"] => Self::ShowWorkers,
            ["show", "stats"] => Self::ShowStats,
            ["show", "config"] => Self::ShowConfig,
            ["show", "listeners"] => Self::ShowListeners,
            ["show", "durations"] => Self::ShowDurations,
            ["show", "all"] => Self::ShowAll,
            ["worker", "add"] => Self::Add { count: 1, wait },
            ["worker", "add", n] => Self::Add { count: count(n)?, wait },
            ["worker", "remove"] => Self::Remove { count: 1 },
            ["worker", "remove", n] => Self::Remove { count: count(n)? },
            ["worker", "restart"] | ["worker", "restart", "all"] => Self::Restart { which: None, wait },
            ["worker", "restart", which] => Self::Restart { which: Some(Which::parse(which)?), wait },
            ["worker", "kill", which] => Self::Kill { which: Which::parse(which)?, wait },
            ["worker", "kill"] => return Err("worker kill needs a worker: a pid or a slot".to_owned()),
            ["reload"] => Self::Reload { wait },
            ["reopen"] => Self::Reopen,
            ["shutdown"] | ["shutdown", "graceful"] => Self::Shutdown { quick: false },
            ["shutdown", "quick"] => Self::Shutdown { quick: true },
            [] => return Err("no command".to_owned()),
            _ => return Err(format!("unknown command {:?}", words.join(" "))),
        };
        if wait && !command.waits() {
            return Err(format!("{:?} has nothing to wait for", words.join(" ")));
        }
        Ok(command)
    }

    /// The words that [`Self::parse`] reads.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let text = match self {
            Self::Help => "help".to_owned(),
            Self::ShowWorkers => "show workers".to_owned(),
            Self::ShowStats => "show stats".to_owned(),
            Self::ShowConfig => "show config".to_owned(),
            Self::ShowListeners => "show listeners".to_owned(),
            Self::ShowDurations => "show durations".to_owned(),
            Self::ShowAll => "show all".to_owned(),
            Self::Add { count, .. } => format!("worker add {count}"),
            Self::Remove { count } => format!("worker remove {count}"),
            Self::Restart { which: None, .. } => "worker restart all".to_owned(),
            Self::Restart { which: Some(which), .. } => format!("worker restart {which}"),
            Self::Kill { which, .. } => format!("worker kill {which}"),
            Self::Reload { .. } => "reload".to_owned(),
            Self::Reopen => "reopen".to_owned(),
            Self::Shutdown { quick: false } => "shutdown graceful".to_owned(),
            Self::Shutdown { quick: true } => "shutdown quick".to_owned(),
        };
        let wait = self.waits().then_some("--wait");
        text.split(' ').chain(wait).map(str::to_owned).collect()
    }

    /// How many of the words name the command; the others are its arguments.
    pub(crate) const fn length(&self) -> usize {
        match self {
            Self::Help | Self::Reload { .. } | Self::Reopen | Self::Shutdown { .. } => 1,
            _ => 2,
        }
    }

    /// Whether its reply may take as long as a worker takes.
    #[must_use]
    pub const fn waits(&self) -> bool {
        matches!(
            self,
            Self::Add { wait: true, .. }
                | Self::Restart { wait: true, .. }
                | Self::Kill { wait: true, .. }
                | Self::Reload { wait: true }
        )
    }

    /// Whether it only looks.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::Help
                | Self::ShowWorkers
                | Self::ShowStats
                | Self::ShowConfig
                | Self::ShowListeners
                | Self::ShowDurations
                | Self::ShowAll
        )
    }
}

/// As a person would type it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

fn number(digits: &str) -> Option<u32> {
    // u32's own parser would take "+1".
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn count(word: &str) -> Result<usize, String> {
    let count = number(word).and_then(|count| usize::try_from(count).ok()).filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| format!("{word:?} is no number of workers; use 1 to 1024"))
}
