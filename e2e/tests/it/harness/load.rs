//! Load from many clients, none of which forgives anything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use super::client::{Conn, Failure, Response};

/// What clients saw.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Requests with an answer, by its status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests without, by what went wrong.
    pub(crate) failures: BTreeMap<Failure, u64>,
}

impl Tally {
    pub(crate) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    fn note(&mut self, outcome: &Result<Response, Failure>) {
        match outcome {
            Ok(response) => *self.statuses.entry(response.status).or_default() += 1,
            Err(failure) => *self.failures.entry(failure.clone()).or_default() += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
    }
}

/// How a client uses its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Habit {
    /// One connection for all requests, until the server says that it closes it.
    KeepAlive,
    /// One for each request.
    OneEach,
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// Requests with an answer so far.
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Starts `clients` of each habit; each asks for `path` again and again.
    pub(crate) fn start(address: SocketAddr, path: &'static str, clients: usize) -> Self {
        Self::with_limit(address, path, clients, u64::MAX)
    }

    /// As [`Load::start`]; each client stops by itself after `limit` requests.
    pub(crate) fn with_limit(address: SocketAddr, path: &'static str, clients: usize, limit: u64) -> Self {
        let (stop, answered) = (Arc::default(), Arc::default());
        let habits =
            [Habit::KeepAlive, Habit::OneEach].into_iter().flat_map(|habit| std::iter::repeat_n(habit, clients));
        let clients = habits.map(|habit| {
            let client = Client { address, path, habit, stop: Arc::clone(&stop), answered: Arc::clone(&answered) };
            std::thread::spawn(move || client.run(limit))
        });
        let clients = clients.collect();
        Self { stop, answered, clients }
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Lets everyone finish the request under way.
    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Relaxed);
        self.finish()
    }

    /// Waits for clients with a limit.
    pub(crate) fn finish(self) -> Tally {
        let mut tally = Tally::default();
        for client in self.clients {
            tally.add(&client.join().expect("a client does not panic"));
        }
        tally
    }
}

struct Client {
    address: SocketAddr,
    path: &'static str,
    habit: Habit,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Client {
    fn run(&self, limit: u64) -> Tally {
        let mut tally = Tally::default();
        let mut kept = None;
        for _ in 0..limit {
            if self.stop.load(Relaxed) {
                break;
            }
            let outcome = self.ask(&mut kept);
            tally.note(&outcome);
            if outcome.is_ok() {
                self.answered.fetch_add(1, Relaxed);
            }
        }
        tally
    }

    /// No second try: a request that fails on a connection that was kept open has failed.
    fn ask(&self, kept: &mut Option<Conn>) -> Result<Response, Failure> {
        let mut conn = match kept.take() {
            Some(conn) => conn,
            None => Conn::open(self.address)?,
        };
        let response = match self.habit {
            Habit::KeepAlive => conn.get(self.path)?,
            Habit::OneEach => conn.request("GET", self.path, "Connection: close\r\n", "")?,
        };
        if self.habit == Habit::KeepAlive && !response.closes() {
            *kept = Some(conn);
        }
        Ok(response)
    }
}
