//! The control socket: people and scripts ask, the master answers. It is served by the master's one loop, so nothing here waits
//! for anybody: whoever is slow, silent or loud is bounded in number, size and time.
//!
//! | module | what it is |
//! |---|---|
//! | `connection` | one of those who ask: what it has said, and what it is still to be told |
//! | `report` | what the answers say |
//! | `socket` | where it listens |

mod connection;
pub(crate) mod report;
pub(crate) mod socket;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustcorn_control::{Command, HELP, Reply, Request, data};
use rustcorn_sys::Monotonic;
use rustcorn_sys::error::without_number;
use rustcorn_sys::fd::Interest;
use rustcorn_sys::held_socket::{HeldSocket, Peer};
use rustcorn_sys::signal::Sig;
use serde_json::Value;

use crate::fleet::{Ask, Event, Ticket};
use crate::notice::Notice;
use connection::{Connection, Heard};

/// So many are served at a time. One more takes the place of whoever has been silent for longest.
const MOST: usize = 32;
/// So many are taken in a round.
const AT_ONCE: usize = 8;
/// Without descriptors or memory, time until the next attempt to accept.
const RECOVERY: Duration = Duration::from_secs(1);
/// Time between two lines about those who may not ask.
const QUIET: Duration = Duration::from_secs(10);

/// Everybody who asks.
#[derive(Debug, Default)]
pub(crate) struct Control {
    connections: Vec<Connection>,
    last_ticket: u64,
    /// There is no accepting before.
    pause: Option<Monotonic>,
    /// When somebody was last said to have been turned away.
    said: Option<Monotonic>,
}

impl Control {
    /// What to wait for.
    pub(crate) fn descriptors<'a>(
        &'a self,
        socket: Option<&'a HeldSocket>,
    ) -> impl Iterator<Item = (BorrowedFd<'a>, Interest)> {
        let socket = socket.filter(|_| self.pause.is_none()).map(|socket| (socket.as_fd(), Interest::Readable));
        socket.into_iter().chain(self.connections.iter().map(|one| (one.as_fd(), one.interest())))
    }

    /// When [`Self::tend`] is due at the latest.
    pub(crate) fn next_deadline(&self, now: Monotonic) -> Option<Monotonic> {
        self.connections.iter().filter_map(|one| one.deadline(now)).chain(self.pause).min()
    }

    /// Accepts, hears and tells whatever can be without waiting. One request of each a round. Returns what the fleet has to know.
    pub(crate) fn tend(&mut self, now: Monotonic, socket: Option<&HeldSocket>) -> Vec<Event> {
        let mut news = VecDeque::new();
        if let Some(socket) = socket {
            self.accept(now, socket);
        }
        let mut tickets = std::iter::from_fn({
            let last = &mut self.last_ticket;
            move || {
                *last += 1;
                Some(Ticket(*last))
            }
        });
        self.connections.retain_mut(|one| match one.tend(now) {
            Heard::Nothing => true,
            Heard::Line(line) => {
                heard(one, now, &line, &mut tickets, &mut news);
                true
            }
            Heard::Gone(ticket) => {
                news.extend(ticket.map(Event::Withdrawn));
                false
            }
        });
        news.into()
    }

    /// What was asked with this ticket; `None` if whoever asked has left.
    pub(crate) fn question(&self, ticket: Ticket) -> Option<Command> {
        self.connections.iter().find_map(|one| one.question(ticket))
    }

    /// Answers.
    pub(crate) fn tell(&mut self, now: Monotonic, ticket: Ticket, outcome: Result<Value, String>) {
        if let Some(one) = self.connections.iter_mut().find(|one| one.question(ticket).is_some()) {
            one.answer(now, outcome);
        }
    }

    fn accept(&mut self, now: Monotonic, socket: &HeldSocket) {
        if self.pause.is_some_and(|until| now < until) {
            return;
        }
        self.pause = None;
        for _ in 0..AT_ONCE {
            match socket.accept() {
                Ok(Some((stream, peer))) => {
                    let mut one = Connection::new(stream, peer, now);
                    if !peer.is_trusted() {
                        one.turn_away(now, refusal(peer));
                        self.say_refused(now, peer);
                    } else if !self.make_room() {
                        one.turn_away(now, format!("{MOST} others are waiting for answers; try again later"));
                    } else {
                        self.connections.push(one);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    self.pause = Some(now + RECOVERY);
                    let error = without_number(&error);
                    Notice::SystemTrouble { what: "accept at the control socket".to_owned(), error }.say();
                    return;
                }
            }
        }
    }

    /// Whether there is room for one more.
    fn make_room(&mut self) -> bool {
        if self.connections.len() < MOST {
            return true;
        }
        let silent = self.connections.iter().enumerate().filter_map(|(index, one)| Some((one.silent_since()?, index)));
        let Some((_, index)) = silent.min() else { return false };
        self.connections.swap_remove(index);
        true
    }

    fn say_refused(&mut self, now: Monotonic, peer: Peer) {
        if self.said.is_none_or(|at| now.since(at) >= QUIET) {
            self.said = Some(now);
            Notice::ControlRefused { peer }.say();
        }
    }
}

fn refusal(peer: Peer) -> String {
    format!("user {} may not command this server; become root or the user that it runs as", peer.uid)
}

/// A request, or something that should be one.
fn heard(
    one: &mut Connection,
    now: Monotonic,
    line: &[u8],
    tickets: &mut impl Iterator<Item = Ticket>,
    news: &mut VecDeque<Event>,
) {
    let request = match Request::parse(line) {
        Ok(request) => request,
        Err(error) => return one.tell(now, &Reply::error(Value::Null, error)),
    };
    let command = match request.parsed_command() {
        Ok(command) => command,
        Err(error) => return one.tell(now, &Reply::error(request.id, error)),
    };
    if !command.only_looks() {
        Notice::Control { command: command.to_string(), peer: one.peer() }.say();
    }
    let ask = match command {
        Command::Help => {
            let help = data::Help { help: HELP.to_owned() };
            return one.tell(now, &Reply::ok(request.id, report::value(&help)));
        }
        Command::Reopen => {
            news.push_back(Event::Signal(Sig::Usr1));
            return one.tell(now, &Reply::ok(request.id, report::value(&data::Asked { asked: true })));
        }
        Command::ShowWorkers
        | Command::ShowStats
        | Command::ShowConfig
        | Command::ShowListeners
        | Command::ShowDurations
        | Command::ShowAll => Ask::Look,
        Command::Add { count, wait } => Ask::Add { count, wait },
        Command::Remove { count } => Ask::Remove { count },
        Command::Restart { which, wait } => Ask::Restart { which, wait },
        Command::Kill { which, wait } => Ask::Kill { which, wait },
        Command::Reload { wait } => Ask::Reload { wait },
        Command::Shutdown { quick } => Ask::Stop { quick },
    };
    if let Some(ticket) = tickets.next() {
        one.wait_for(ticket, request.id, command);
        news.push_back(Event::Asked(ticket, ask));
    }
}

/// What a non-blocking call could not do now.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
