//! The seam between policy and world: what happens, and what is to be done.

use std::path::PathBuf;

use rustcorn_scoreboard::Phase;
use rustcorn_sys::signal::Sig;
use rustcorn_sys::{Monotonic, Pid};

use super::{Ask, Fate, Generation, Outcome, Plan, Report, Status, Ticket, WorkerId};
use crate::notice::Notice;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A signal to the master.
    Signal(Sig),
    /// Answer to [`Action::Load`]: the generation can be tried, or why not.
    Loaded(Result<Plan, String>),
    /// Answer to [`Action::Spawn`]: the process exists.
    Spawned(WorkerId, Pid),
    /// The worker says that it accepts connections.
    Ready(WorkerId),
    /// The worker says that it begins to drain. It does so by itself if somebody sent it a TERM directly.
    Leaving(WorkerId),
    /// The worker says that it has served as many requests as it shall.
    Spent(WorkerId),
    /// Answer to [`Action::Measure`]: resident memory in bytes.
    Measured(Vec<(WorkerId, u64)>),
    /// The workers' last signs of life, as read from the scoreboard. Last in each round but for [`Event::Tick`], so that nobody is
    /// judged by old news.
    Beats(Vec<(WorkerId, Monotonic)>),
    /// Somebody at the control socket asks; answered once by [`Action::Answer`].
    Asked(Ticket, Ask),
    /// Whoever asked does not wait any longer.
    Withdrawn(Ticket),
    /// The process is gone (and reaped), with the reason it gave, if it gave one.
    Exited(WorkerId, Fate, Option<String>),
    /// Answer to [`Action::StartHeir`]: the new master's process exists.
    HeirSpawned(Pid),
    /// The new master tells something.
    HeirSays(Report),
    /// The new master is gone (and reaped), or could not be started; with the reason it gave, if it gave one.
    HeirGone(Fate, Option<String>),
    /// The master that started this one is gone.
    ParentGone,
    /// Files that are watched have changed, and are to be served (the setting `dev`).
    FilesChanged(Vec<PathBuf>),
    /// The end of a round: only now deadlines are looked at, so that what came in time counts, however late it was read.
    Tick,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Start this worker; answer with [`Event::Spawned`], or with [`Event::Exited`] if that is impossible.
    Spawn(WorkerId),
    /// This foreign worker counts as ready: let readers of the scoreboard know, which it does not write itself.
    ShowReady(WorkerId),
    /// Send a signal.
    Signal(WorkerId, Sig),
    /// Read and check the configuration, bind added sockets, open the image, all for this new generation and without effect
    /// on the present one; answer with [`Event::Loaded`].
    Load(Generation),
    /// This generation is the present one: let go of what only older ones used.
    Commit(Generation),
    /// This generation is not to be: let go of what only it used.
    Discard(Generation),
    /// Tell the workers, by the scoreboard, what a TERM means from now on.
    SetPhase(Phase),
    /// Let nobody connect any more.
    CloseListeners,
    /// Go over, with all processes, to the log files that have the names now.
    ReopenLogs,
    /// Look how much memory the workers have; answer with [`Event::Measured`].
    Measure,
    /// Start a new master from the file now on disk, whose first generation is this; answer with [`Event::HeirSpawned`], or with
    /// [`Event::HeirGone`] if that is impossible.
    StartHeir(Generation),
    /// Send the new master a signal.
    SignalHeir(Sig),
    /// Tell the master that started this one.
    TellParent(Report),
    /// The sockets' files and the pid file are this master's alone from now on.
    Promote,
    /// The admin address is answered by this master, or is not (another one does).
    ServeAdmin(bool),
    /// Tell the service manager, if there is one.
    Notify(Status),
    /// Answer to [`Event::Asked`].
    Answer(Ticket, Outcome),
    /// Write a line for the operator.
    Say(Notice),
    /// Leave with this exit code. The last action there ever is.
    Exit(u8),
}
