//! What each signal to the master means.

use rustcorn_sys::Monotonic;
use rustcorn_sys::signal::Sig;

use super::{Action, Fleet, MAX_WORKERS};
use crate::notice::Notice;

impl Fleet {
    pub(super) fn signal(&mut self, now: Monotonic, sig: Sig, todo: &mut Vec<Action>) {
        if sig == Sig::Chld {
            return; // exits come as events of their own
        }
        todo.push(Action::Say(Notice::HandlingSignal(sig)));
        match sig {
            Sig::Term => self.stop_gracefully(now, todo),
            Sig::Int | Sig::Quit => self.stop_quickly(now, None, todo),
            Sig::Hup if self.stop.is_some() => todo.push(Action::Say(Notice::ReloadRefused)),
            Sig::Hup => {
                // At once and not only if the reload succeeds: after a WINCH this is how one goes back.
                self.come_back();
                self.ask_for_reload(todo);
            }
            // After a WINCH they come back one by one.
            Sig::Ttin => self.target = if self.come_back() { 1 } else { (self.target + 1).min(MAX_WORKERS) },
            Sig::Ttou => self.target = (self.target - 1).max(1),
            Sig::Usr2 => self.start_upgrade(now, todo),
            Sig::Winch => self.stop_workers(now, todo),
            Sig::Usr1 => self.reopen_logs(todo),
            Sig::Chld | Sig::Abrt | Sig::Kill => {}
        }
    }
    /// The workers are told, too, as gunicorn does: the application may have files of its own. One that cannot hear it yet ignores
    /// it. A new master beside this one is told as well: the pid file, from which logrotate knows whom to tell, names one of both.
    fn reopen_logs(&self, todo: &mut Vec<Action>) {
        todo.push(Action::ReopenLogs);
        let told = self.workers.iter().filter(|(_, worker)| worker.pid.is_some() && worker.may_log());
        todo.extend(told.map(|(id, _)| Action::Signal(*id, Sig::Usr1)));
        if self.lineage.heir_may_log() {
            todo.push(Action::SignalHeir(Sig::Usr1));
        }
    }
}
