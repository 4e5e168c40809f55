//! Every signal to the master in every state of it: {idle, serving, reloading, draining, upgrading} × {TERM, INT, QUIT, HUP, TTIN,
//! TTOU, USR1, USR2, WINCH}. What a request in flight sees is part of the effect.

use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, eventually, proc};

const SIGNALS: [Sig; 9] = [
    Sig::SIGTERM,
    Sig::SIGINT,
    Sig::SIGQUIT,
    Sig::SIGHUP,
    Sig::SIGTTIN,
    Sig::SIGTTOU,
    Sig::SIGUSR1,
    Sig::SIGUSR2,
    Sig::SIGWINCH,
];
/// Longer than the effect of a signal takes, which comes while the state lasts.
const STATE_LASTS: &str = "1500";

/// Two workers, without a terminal (setsid), which would make WINCH harmless.
fn server(app: &str) -> Server {
    let server = Setup::testapp().app(app).set("graceful_timeout = 20").wrapped(&["setsid", "-w"]).start();
    server.settled(2);
    server
}

/// A request that a worker has begun with.
fn slow_request(server: &Server) -> Conn {
    let mut conn = server.connect();
    conn.send("GET", "/slow", "", "").expect("sent");
    server.wait_for_journal("start", 1);
    conn
}

/// The state, and the request that was in flight when the signal came.
struct Case {
    server: Server,
    sig: Sig,
    slow: Option<Conn>,
    mark: usize,
}

impl Case {
    fn new(server: Server, sig: Sig, slow: Option<Conn>) -> Self {
        let mark = server.log.mark();
        server.signal(sig);
        Self { server, sig, slow, mark }
    }

    /// The request in flight is finished. Its connection would go on, idle; the client closes it.
    #[track_caller]
    fn answers(&mut self) {
        if let Some(mut conn) = self.slow.take() {
            assert_eq!(conn.receive(false).map(|response| response.status), Ok(200), "{}", self.sig);
        }
    }

    #[track_caller]
    fn says(&self, pattern: &str) {
        self.server.log.wait(self.mark, pattern, 1, PATIENCE);
    }

    /// Exit code 0, and the request was answered.
    #[track_caller]
    fn stops_gently(mut self) {
        self.answers();
        assert_eq!(self.server.wait_for_exit(PATIENCE), 0, "{}", self.sig);
    }

    /// Exit code 0 without waiting for graceful_timeout, and the request was dropped.
    #[track_caller]
    fn stops_quickly(mut self) {
        assert_eq!(self.server.wait_for_exit(PATIENCE), 0, "{}", self.sig);
        if let Some(conn) = &mut self.slow {
            assert!(conn.receive(false).is_err(), "{}: nobody waited", self.sig);
        }
    }

    /// So many workers, all ready, and the request was answered.
    #[track_caller]
    fn serves_with(&mut self, workers: usize) {
        self.answers();
        eventually(&format!("{workers} workers after {}", self.sig), PATIENCE, || {
            (self.workers() == workers).then_some(())
        });
        assert_eq!(self.server.get("/pid").map(|response| response.status), Ok(200), "{}", self.sig);
    }

    /// Workers of this master that are ready and not leaving.
    fn workers(&self) -> usize {
        let ready = |pid: &u32| self.server.log.count(&format!("Worker ready (pid: {pid},")) > 0;
        let worker = |pid: &u32| proc::title(*pid).starts_with("rustcorn: worker");
        self.server.workers().iter().filter(|pid| ready(pid) && worker(pid)).count()
    }

    /// No worker, and the master lives.
    #[track_caller]
    fn has_no_workers(&mut self) {
        self.says("graceful stop of workers");
        self.answers();
        eventually("no workers", PATIENCE, || (self.workers() == 0).then_some(()));
        assert!(proc::lives(self.server.pid()));
    }

    /// A new master serves. The old one ends the upgrade.
    #[track_caller]
    fn hands_over(mut self) {
        let heir = self.server.wait_for_heir(0);
        self.answers();
        self.server.signal(Sig::SIGTERM);
        self.ends_with_heir(heir);
    }

    #[track_caller]
    fn ends_with_heir(mut self, heir: u32) {
        self.server.follow(heir);
        self.says("Master has been promoted.");
        self.serves_with(2);
    }
}

/// With or without a request in flight, all is as the manual has it.
fn idle_or_serving(case: Case) {
    let mut case = case;
    match case.sig {
        Sig::SIGTERM => case.stops_gently(),
        Sig::SIGINT | Sig::SIGQUIT => case.stops_quickly(),
        Sig::SIGHUP => {
            case.says("Reloaded: generation 2 is serving");
            case.serves_with(2);
        }
        Sig::SIGTTIN => case.serves_with(3),
        Sig::SIGTTOU => case.serves_with(1),
        Sig::SIGUSR1 => {
            case.says("Handling signal: usr1");
            case.serves_with(2);
        }
        Sig::SIGUSR2 => case.hands_over(),
        _ => case.has_no_workers(),
    }
}

#[test]
fn idle() {
    for sig in SIGNALS {
        idle_or_serving(Case::new(server(""), sig, None));
    }
}

#[test]
fn serving() {
    for sig in SIGNALS {
        let server = server(&format!("slow_ms = {STATE_LASTS}"));
        let slow = slow_request(&server);
        idle_or_serving(Case::new(server, sig, Some(slow)));
    }
}

#[test]
fn reloading() {
    for sig in SIGNALS {
        let mut server = server("");
        server.reconfigure("", &format!("boot_ms = {STATE_LASTS}"));
        server.signal(Sig::SIGHUP);
        server.log.wait(0, "Booting worker with pid", 3, PATIENCE);
        let mut case = Case::new(server, sig, None);
        match sig {
            Sig::SIGTERM => case.stops_gently(),
            Sig::SIGINT | Sig::SIGQUIT => case.stops_quickly(),
            Sig::SIGHUP => {
                case.says("Reloaded: generation 2 is serving");
                case.says("Reloaded: generation 3 is serving"); // it reads what may have changed since
                case.serves_with(2);
            }
            // The number in the file is what a reload goes back to.
            Sig::SIGTTIN | Sig::SIGTTOU | Sig::SIGUSR1 => {
                case.says("Reloaded: generation 2 is serving");
                case.serves_with(2);
            }
            Sig::SIGUSR2 => {
                case.says("Reloaded: generation 2 is serving");
                case.hands_over();
            }
            _ => case.has_no_workers(),
        }
    }
}

#[test]
fn draining() {
    for sig in SIGNALS {
        let server = server(&format!("slow_ms = {STATE_LASTS}"));
        let slow = slow_request(&server);
        server.signal(Sig::SIGTERM);
        server.wait_for_line("Draining: accepts no more; 1 in flight");
        let case = Case::new(server, sig, Some(slow));
        match sig {
            Sig::SIGINT | Sig::SIGQUIT => {
                case.says("Quick shutdown requested");
                case.stops_quickly();
            }
            Sig::SIGHUP => {
                case.says("Reload refused: the server is stopping");
                case.stops_gently();
            }
            Sig::SIGUSR2 => {
                case.says("USR2 signal ignored. The server is stopping.");
                case.stops_gently();
            }
            _ => case.stops_gently(),
        }
    }
}

#[test]
fn upgrading() {
    for sig in SIGNALS {
        let mut server = server("");
        server.reconfigure("", &format!("boot_ms = {STATE_LASTS}"));
        server.signal(Sig::SIGUSR2);
        let line = server.wait_for_line("Upgrade: a new master is starting (pid: ");
        let heir = line.split("(pid: ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok()).expect("a pid");
        let mut case = Case::new(server, sig, None);
        match sig {
            // The new one is on its way, so the old one is what is stopped.
            Sig::SIGTERM | Sig::SIGINT | Sig::SIGQUIT => case.ends_with_heir(heir),
            Sig::SIGHUP => {
                case.says("Reloaded: generation 3 is serving");
                case.serves_with(2);
                case.hands_over();
            }
            Sig::SIGTTIN => {
                eventually("three workers", PATIENCE, || (case.workers() == 3).then_some(()));
                case.hands_over();
            }
            Sig::SIGTTOU => {
                eventually("one worker", PATIENCE, || (case.workers() == 1).then_some(()));
                case.hands_over();
            }
            Sig::SIGUSR2 => {
                case.says("USR2 signal ignored. Child exists.");
                case.hands_over();
            }
            Sig::SIGWINCH => {
                case.has_no_workers();
                case.hands_over();
            }
            _ => {
                case.serves_with(2);
                case.hands_over();
            }
        }
    }
}
