//! A statsd server that adds up what it is told.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

/// What was received so far.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) gauges: BTreeMap<String, f64>,
    pub(crate) timers: BTreeMap<String, Timer>,
    /// Lines that do not read.
    pub(crate) malformed: Vec<String>,
    pub(crate) datagrams: u64,
}

/// How many events a server makes of the lines of a timer.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Timer {
    /// By adding 1/rate, as Etsy's statsd does.
    pub(crate) added: f64,
    /// By repeating each `int(1/rate)` times, as the Prometheus exporter does.
    pub(crate) repeated: u64,
    /// Milliseconds, each line times its events.
    pub(crate) total: f64,
}

impl Sums {
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn timer(&self, name: &str) -> Timer {
        self.timers.get(name).copied().unwrap_or_default()
    }

    /// Status counters, by status.
    pub(crate) fn statuses(&self, prefix: &str) -> BTreeMap<u16, u64> {
        let status = |name: &String| name.strip_prefix(prefix)?.strip_prefix("gunicorn.request.status.")?.parse().ok();
        self.counters.iter().filter_map(|(name, count)| Some((status(name)?, *count))).collect()
    }

    fn read(&mut self, line: &str) {
        if self.try_read(line).is_none() {
            self.malformed.push(line.to_owned());
        }
    }

    fn try_read(&mut self, line: &str) -> Option<()> {
        let (name, rest) = line.split_once(':')?;
        let mut parts = rest.split('|');
        let (value, kind) = (parts.next()?.parse::<f64>().ok()?, parts.next()?);
        let mut rate = 1.0;
        for part in parts {
            if let Some(text) = part.strip_prefix('@') {
                rate = text.parse::<f64>().ok()?;
            }
        }
        match kind {
            "c" => {
                let count = value / rate;
                *self.counters.entry(name.to_owned()).or_default() += count as u64;
                (count.fract() == 0.0).then_some(())
            }
            "g" => {
                self.gauges.insert(name.to_owned(), value);
                Some(())
            }
            "ms" => {
                let timer = self.timers.entry(name.to_owned()).or_default();
                timer.added += 1.0 / rate;
                timer.repeated += (1.0 / rate) as u64;
                timer.total += value / rate;
                Some(())
            }
            _ => None,
        }
    }
}

/// The server. It ends with the test process: nothing waits for its thread.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<Sums>, Condvar)>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).expect("the port is free");
        // A burst must not be lost here. The kernel takes what it allows.
        setsockopt(&socket, RcvBuf, &(4 << 20)).expect("any size is accepted");
        let address = socket.local_addr().expect("it is bound");
        let shared = Arc::new((Mutex::new(Sums::default()), Condvar::new()));
        let writer = Arc::downgrade(&shared);
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("not zero");
        std::thread::spawn(move || {
            let mut datagram = vec![0; 65536];
            while let Some(shared) = writer.upgrade() {
                let Ok(length) = socket.recv(&mut datagram) else { continue };
                let mut sums = shared.0.lock().expect("nobody panics while holding the lock");
                sums.datagrams += 1;
                String::from_utf8_lossy(&datagram[..length]).lines().for_each(|line| sums.read(line));
                shared.1.notify_all();
            }
        });
        Self { address, shared }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.shared.0.lock().expect("nobody panics while holding the lock")
    }

    /// Waits until `fact` holds, and returns the sums at that moment; or what they are at the end of `patience`.
    pub(crate) fn wait(&self, patience: Duration, fact: impl Fn(&Sums) -> bool) -> Sums {
        let deadline = Instant::now() + patience;
        let mut sums = self.lock();
        while !fact(&sums) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            sums = self.shared.1.wait_timeout(sums, left).expect("nobody panics while holding the lock").0;
        }
        sums.clone()
    }

    /// The sums of all that was sent before this call: sends a datagram of its own and waits for it, since they arrive in order.
    pub(crate) fn all(&self) -> Sums {
        let mark = |sums: &Sums| sums.counter("mark");
        let before = mark(&self.lock());
        let socket = UdpSocket::bind((self.address.ip(), 0)).expect("loopback has free ports");
        socket.send_to(b"mark:1|c", self.address).expect("loopback takes it");
        let sums = self.wait(super::PATIENCE, |sums| mark(sums) > before);
        assert!(mark(&sums) > before, "the statsd server does not read");
        sums
    }
}
