//! What happens next, by chance.

use super::*;

impl Os {
    /// The next thing that happens, by chance.
    pub(super) fn next(&mut self, rng: &mut Rng, calm: bool) -> Event {
        if !self.owed.is_empty() {
            return self.owed.remove(0);
        }
        let gone = |id, fate| Event::Exited(id, fate, None);
        if let Some(id) = rng.pick(&self.all(Process::Killed)) {
            return gone(id, Fate::Signal(9));
        }
        if let Some(event) = self.next_of_masters(rng, calm) {
            return event;
        }
        match rng.below(if calm { 50 } else { 100 }) {
            0..20 => {
                if let Some(id) = rng.pick(&[self.all(Process::Booting), self.all(Process::Deaf)].concat()) {
                    return Event::Ready(id);
                }
            }
            20..40 => {
                if let Some(id) = rng.pick(&self.all(Process::Leaving)) {
                    return gone(id, Fate::Code(0));
                }
            }
            50..60 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return gone(id, Fate::Signal(11));
                }
            }
            60..62 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return Event::Leaving(id);
                }
            }
            62..66 => {
                if let Some(id) = rng.pick(&self.all(Process::Booting)) {
                    let code = if rng.chance(50) { 4 } else { 3 };
                    return gone(id, Fate::Code(code));
                }
            }
            66..80 => return self.some_signal(rng),
            80..84 => {
                if let Some(id) = rng.pick(&self.all(Process::Ready)) {
                    return Event::Spent(id);
                }
            }
            84..90 => return self.some_question(rng),
            90..92 => {
                let asked: Vec<Ticket> = self.asked.iter().copied().collect();
                if let Some(ticket) = rng.pick(&asked) {
                    self.asked.remove(&ticket);
                    return Event::Withdrawn(ticket);
                }
            }
            _ => {}
        }
        Event::Tick
    }

    /// What the masters before and after this one do, now and then. They lead a calmer life than the workers.
    fn next_of_masters(&self, rng: &mut Rng, calm: bool) -> Option<Event> {
        if !rng.chance(3) {
            return None;
        }
        match self.heir {
            Heir::None if self.birth.has_parent && (calm || rng.chance(20)) => Some(Event::ParentGone),
            Heir::Starting if calm || rng.chance(60) => Some(Event::HeirSays(Report::Ready)),
            Heir::Serving if !calm && rng.chance(20) => Some(Event::HeirSays(Report::Leaving)),
            Heir::Starting | Heir::Serving if !calm && rng.chance(30) => Some(Event::HeirGone(Fate::Code(3), None)),
            Heir::Leaving => Some(Event::HeirGone(Fate::Code(0), None)),
            _ => None,
        }
    }

    /// What somebody at the control socket may say, sense or nonsense.
    fn some_question(&mut self, rng: &mut Rng) -> Event {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let wait = rng.chance(70);
        let count = 1 + usize::try_from(rng.below(3)).unwrap();
        let slot = Which::Slot(u32::try_from(rng.below(8)).unwrap());
        let ask = match rng.below(100) {
            0 if self.may_stop => Ask::Stop { quick: false },
            1 if self.may_stop => Ask::Stop { quick: true },
            0..15 => Ask::Look,
            15..25 => Ask::Add { count, wait },
            25..40 => Ask::Remove { count },
            40..60 => Ask::Restart { which: (!rng.chance(30)).then_some(slot), wait },
            60..75 => Ask::Kill { which: slot, wait },
            _ => Ask::Reload { wait },
        };
        Event::Asked(ticket, ask)
    }

    /// What the world knows of an event in the moment the fleet hears of it.
    pub(super) fn deliver(&mut self, event: &Event) {
        match event {
            Event::Exited(id, ..) => {
                self.processes.remove(id);
            }
            Event::Ready(id) => {
                let unwanted = self.processes[id] == Process::Deaf;
                self.processes.insert(*id, if unwanted { Process::Unwanted } else { Process::Ready });
            }
            Event::Leaving(id) => {
                self.processes.insert(*id, Process::Leaving);
            }
            Event::Signal(Sig::Ttin | Sig::Hup) if self.is_ending() => {}
            Event::Signal(Sig::Ttin) => {
                self.target = if std::mem::take(&mut self.retired) { 1 } else { self.target + 1 };
            }
            Event::Signal(Sig::Hup) => self.retired = false,
            Event::Signal(Sig::Winch) => {
                let harmless = !self.birth.has_terminal || self.heir == Heir::Serving;
                self.retired |= harmless && !self.stopping;
            }
            Event::HeirSays(Report::Ready) => {
                self.leaving |= self.plan.handover == Handover::Auto && !self.stopping;
                self.retired |= self.leaving;
                self.heir = Heir::Serving;
            }
            Event::HeirSays(_) => {
                (self.retired, self.leaving) = (false, false);
                self.heir = Heir::Leaving;
            }
            Event::HeirGone(..) => {
                self.retired &= self.heir != Heir::Serving;
                self.leaving &= self.retired;
                self.heir = Heir::None;
            }
            Event::ParentGone => self.birth.has_parent = false,
            Event::Signal(Sig::Ttou) => self.target = (self.target - 1).max(1),
            Event::Signal(Sig::Term | Sig::Int | Sig::Quit) => self.stopping = true,
            Event::Asked(ticket, ask) => {
                self.asked.insert(*ticket);
                match ask {
                    Ask::Add { count, .. } if !self.is_ending() => {
                        self.target = if std::mem::take(&mut self.retired) { *count } else { self.target + count };
                    }
                    Ask::Reload { .. } if !self.is_ending() => self.retired = false,
                    Ask::Stop { .. } => self.stopping = true,
                    Ask::Remove { count } if !self.is_ending() => {
                        self.target = self.target.saturating_sub(*count).max(1);
                    }
                    Ask::Kill { which: Which::Slot(slot), .. } => {
                        self.doomed = self.processes.keys().find(|id| id.slot.0 == *slot as usize).copied();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn some_signal(&self, rng: &mut Rng) -> Event {
        let sig = match rng.below(200) {
            0 if self.may_stop => Sig::Term,
            1 if self.may_stop => Sig::Int,
            2 if self.may_stop => Sig::Quit,
            0..80 => Sig::Hup,
            80..115 => Sig::Ttin,
            115..155 => Sig::Ttou,
            155..165 => Sig::Usr1,
            165..185 => Sig::Usr2,
            _ => Sig::Winch,
        };
        Event::Signal(sig)
    }

    pub(super) fn beats(&self, rng: &mut Rng, calm: bool) -> Event {
        let ready = self.all(Process::Ready).into_iter();
        Event::Beats(ready.filter(|_| calm || rng.chance(95)).map(|id| (id, self.now)).collect())
    }
}

pub(super) fn random_plan(rng: &mut Rng, may_leave: bool, foreign: Option<Foreign>) -> Plan {
    Plan {
        handover: if may_leave && rng.chance(50) { Handover::Auto } else { Handover::Manual },
        workers: 1 + usize::try_from(rng.below(6)).unwrap(),
        max_surge: 1 + usize::try_from(rng.below(3)).unwrap(),
        timeout: if foreign.is_some() { Duration::ZERO } else { Duration::from_secs(30 * rng.below(2)) },
        graceful_timeout: Duration::from_secs(rng.below(40)),
        drain_delay: Duration::from_secs(rng.below(10)),
        flush_timeout: Duration::from_secs(rng.below(4)),
        boot_timeout: Duration::from_secs(1 + rng.below(60)),
        restart_backoff: Duration::from_millis(100 * rng.below(2)),
        limits: Limits { max_rss: rng.below(2), worker_lifetime: Duration::from_secs(60 * rng.below(3)) },
        foreign,
    }
}
