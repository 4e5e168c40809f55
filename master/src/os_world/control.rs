//! Answers for the control socket: the fleet's outcome, and what only the world knows.

use rustcorn_control::{Command, data};
use rustcorn_sys::held_socket::HeldSocket;
use serde_json::Value;

use super::{OsWorld, Resources};
use crate::control::report::{self, Scene};
use crate::fleet::{Outcome, Seen, Ticket};

impl OsWorld {
    /// Where questions come from; none if none are wanted.
    pub(super) fn control_socket(&self) -> Option<&HeldSocket> {
        self.in_force()?.control.as_deref()
    }

    pub(super) fn answer(&mut self, ticket: Ticket, outcome: &Outcome) {
        let Some(command) = self.control.question(ticket) else { return }; // it has just left
        let answer = match outcome {
            Outcome::Seen(seen) => Ok(self.seen(command, seen)),
            other => report::outcome(other),
        };
        let now = self.now();
        self.control.tell(now, ticket, answer);
    }

    fn seen(&self, command: Command, seen: &[Seen]) -> Value {
        let snapshot = self.board.snapshot().expect("nobody else folds");
        let scene = Scene { now: self.now(), board: &self.board, snapshot, seen };
        let resources = self.in_force();
        let name = resources.map_or("", |resources| resources.name.as_str());
        let stats = || scene.stats(name, scene.now.since(self.started));
        let config = || report::config(resources.map_or(&[], |resources| &resources.shown));
        let listeners = || data::Listeners { listeners: resources.map_or_else(Vec::new, listeners) };
        match command {
            Command::ShowWorkers => report::value(&scene.workers()),
            Command::ShowStats => report::value(&stats()),
            Command::ShowConfig => report::value(&config()),
            Command::ShowListeners => report::value(&listeners()),
            Command::ShowDurations => report::value(&scene.durations()),
            _ => report::value(&data::All {
                stats: stats(),
                workers: scene.workers(),
                listeners: listeners(),
                config: config(),
            }),
        }
    }
}

fn listeners(resources: &Resources) -> Vec<data::Listener> {
    let bound = resources.listeners.iter().map(|listener| (listener, "bind"));
    let admin = resources.admin.iter().map(|listener| (listener, "admin_bind"));
    let http = bound.chain(admin).map(|(listener, setting)| data::Listener {
        url: listener.url().to_owned(),
        setting: setting.to_owned(),
        backlog: listener.waiting(),
    });
    let control = resources.control.iter().map(|socket| data::Listener {
        url: format!("unix:{}", socket.path().display()),
        setting: "control_socket".to_owned(),
        backlog: None,
    });
    http.chain(control).collect()
}
