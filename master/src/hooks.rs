//! What a program that is its own master wants to be called for in the master. The master is one thread with one blocking call: while
//! a hook runs, nobody is supervised, so one that takes long is told; and no panic of a hook ends the master.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustcorn_config::Settings;
use rustcorn_sys::log::Panic;
use rustcorn_sys::{Monotonic, Pid};

use crate::fleet::Slot;
use crate::notice::Notice;

/// A hook that takes longer is told.
const LONG: Duration = Duration::from_secs(1);

/// A hook that may refuse, with its reason.
type Check<A> = Box<dyn Fn(&A) -> Result<(), String>>;
/// A hook that may refuse what is to take the place of something.
type Compare<A> = Box<dyn Fn(&A, &A) -> Result<(), String>>;
/// A hook that is told something.
type Told<A> = Box<dyn Fn(&A)>;

/// The hooks of a master.
#[derive(Default)]
pub struct Hooks {
    /// The configuration of the first start is good; nothing is bound yet.
    pub on_starting: Option<Check<Settings>>,
    /// The first worker serves.
    pub on_ready: Option<Told<Settings>>,
    /// The configuration of a reload is good; nothing of it is done yet.
    pub on_reload: Option<Compare<Settings>>,
    /// A worker hangs, and is not aborted yet.
    pub worker_hang: Option<Told<Hang>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// A worker whose event loop stands still.
#[derive(Clone, Debug)]
pub struct Hang {
    /// Its seat.
    pub slot: Slot,
    /// Its process.
    pub pid: Pid,
    /// Time without a heartbeat.
    pub silent: Duration,
    /// The requests being polled, and for how long.
    pub polled: Vec<(String, Duration)>,
}

/// What was wrong with a hook that cannot refuse anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It panicked.
    Panicked(String),
    /// It took this long.
    Slow(Duration),
}

impl Hooks {
    /// Whether `new` may be: the first configuration, or one in place of `old`. If not, why.
    pub(crate) fn agree(&self, old: Option<&Settings>, new: &Settings) -> Result<(), String> {
        match (old, &self.on_starting, &self.on_reload) {
            (None, Some(hook), _) => check("on_starting", || hook(new)),
            (Some(old), _, Some(hook)) => check("on_reload", || hook(old, new)),
            _ => Ok(()),
        }
    }

    pub(crate) fn ready(&self, settings: &Settings) {
        if let Some(hook) = &self.on_ready {
            tell("on_ready", || hook(settings));
        }
    }

    pub(crate) fn hang(&self, hang: impl FnOnce() -> Hang) {
        if let Some(hook) = &self.worker_hang {
            tell("worker_hang", || hook(&hang()));
        }
    }
}

fn check(name: &'static str, hook: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    match guarded(name, hook) {
        Ok(outcome) => outcome.map_err(|why| format!("{name}: {why}")),
        Err(panic) => Err(format!("{name} {panic}")),
    }
}

fn tell(name: &'static str, hook: impl FnOnce()) {
    if let Err(panic) = guarded(name, hook) {
        Notice::Hook { name, trouble: Trouble::Panicked(panic) }.say();
    }
}

/// Runs a hook. Its panic is the error.
///
/// Unwind safe: a hook has nothing of the master's but what it is shown.
fn guarded<T>(name: &'static str, hook: impl FnOnce() -> T) -> Result<T, String> {
    let began = Monotonic::now();
    let outcome = catch_unwind(AssertUnwindSafe(hook)).map_err(|payload| Panic::from_payload(&*payload).words());
    let took = Monotonic::now().since(began);
    if took >= LONG {
        Notice::Hook { name, trouble: Trouble::Slow(took) }.say();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_refuses_and_its_panic_are_reasons_with_its_name() {
        let settings = Settings::defaults();
        assert_eq!(Hooks::default().agree(None, &settings), Ok(()));
        let refuses = Hooks { on_starting: Some(Box::new(|_| Err("no licence".to_owned()))), ..Hooks::default() };
        assert_eq!(refuses.agree(None, &settings), Err("on_starting: no licence".to_owned()));
        assert_eq!(refuses.agree(Some(&settings), &settings), Ok(()), "that is a reload");
        let panics = Hooks { on_reload: Some(Box::new(|_, _| panic!("no luck"))), ..Hooks::default() };
        assert!(panics.agree(Some(&settings), &settings).unwrap_err().starts_with("on_reload panicked"));
        let panics = Hooks { on_ready: Some(Box::new(|_| panic!("no luck"))), ..Hooks::default() };
        panics.ready(&settings); // and the master goes on
    }
}
