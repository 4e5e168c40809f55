//! What the outside asks of a worker: signals, and the death of the master.

use std::io;
use std::task::{Context, Poll};

use rustcorn_sys::Pid;
use rustcorn_sys::log::{Level, line};
use rustcorn_sys::signal::{Sender, Sig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::handoff::Ready;

/// Something asked of this worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Leave without losing a request.
    Drain,
    /// The same, and it was not the master who said so.
    DrainByOthers,
    /// Leave at once.
    Quit,
    /// The master has died: leave soon.
    Orphaned,
}

/// Where wishes come from; tests have their own.
pub(crate) trait Wishes {
    /// The next wish.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Wish>;
}

/// What a signal does.
#[derive(Clone, Copy)]
enum Meaning {
    Wish(Wish),
    /// The log file may be another one.
    Reopen,
    /// Meant for the master; the line says so.
    Misdirected(&'static str),
}

/// Signals of this process, and the lifeline.
pub(crate) struct OsWishes {
    signals: Vec<(Signal, Meaning)>,
    /// Who sends TERM.
    term: Sender,
    master: Option<Pid>,
    /// One came after its sender was noted, and perhaps before the runtime listened. To hear it twice changes nothing.
    missed: bool,
    lifeline: Option<oneshot::Receiver<()>>,
    /// Asked for the log file that has the name now; `None`: the master gives none.
    log: Option<Ready>,
}

impl OsWishes {
    /// From here on the signals are heard; before, those that ask it to leave have their default actions, and the master has
    /// the others ignored. To be called inside the runtime.
    pub(crate) fn listen(lifeline: oneshot::Receiver<()>, log: Option<Ready>) -> io::Result<Self> {
        // These mean something to a master only, and are sent to all by a terminal or by mistake. Once heard, their default
        // action (to stop or end the process) is gone for good, also under a master that has not turned it off.
        for kind in [SignalKind::window_change(), SIGTTIN, SIGTTOU] {
            drop(signal(kind)?);
        }
        let (term, master) = (Sender::of(Sig::Term)?, i32::try_from(parent()).ok().and_then(Pid::from_raw));
        let heard = [
            (SignalKind::terminate(), Meaning::Wish(Wish::Drain)),
            (SignalKind::interrupt(), Meaning::Wish(Wish::Quit)),
            (SignalKind::quit(), Meaning::Wish(Wish::Quit)),
            (SignalKind::user_defined1(), Meaning::Reopen),
            (SignalKind::hangup(), Meaning::Misdirected("SIGHUP (reload)")),
            (SignalKind::user_defined2(), Meaning::Misdirected("SIGUSR2 (upgrade)")),
        ];
        let signals = heard.into_iter().map(|(kind, meaning)| Ok((signal(kind)?, meaning)));
        let signals = signals.collect::<io::Result<_>>()?;
        let missed = term.has_come();
        Ok(Self { signals, term, master, missed, lifeline: Some(lifeline), log })
    }
}

const SIGTTIN: SignalKind = SignalKind::from_raw(21);
const SIGTTOU: SignalKind = SignalKind::from_raw(22);

impl Wishes for OsWishes {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Wish> {
        let Self { signals, term, master, missed, .. } = self;
        let master = *master;
        let drain = || match master {
            Some(master) if term.is_other_than(master) => Wish::DrainByOthers,
            _ => Wish::Drain,
        };
        if std::mem::take(missed) {
            return Poll::Ready(drain());
        }
        for (signal, meaning) in signals {
            while let Poll::Ready(Some(())) = signal.poll_recv(cx) {
                match *meaning {
                    Meaning::Wish(Wish::Drain) => return Poll::Ready(drain()),
                    Meaning::Wish(wish) => return Poll::Ready(wish),
                    Meaning::Reopen => self.log.iter().for_each(Ready::reopen_log),
                    Meaning::Misdirected(name) => line(
                        Level::Warning,
                        format_args!("A worker does not act on {name}: send it to the master (pid {})", parent()),
                    ),
                }
            }
        }
        if let Some(lifeline) = &mut self.lifeline
            && std::pin::Pin::new(lifeline).poll(cx).is_ready()
        {
            self.lifeline = None;
            return Poll::Ready(Wish::Orphaned);
        }
        Poll::Pending
    }
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}
