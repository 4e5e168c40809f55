//! A statsd server of the tests: counts as Etsy's and as the Prometheus exporter do.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

/// What a server made of the lines.
#[derive(Default, Debug)]
pub(super) struct Server {
    pub(super) counters: BTreeMap<String, u64>,
    pub(super) gauges: BTreeMap<String, u64>,
    /// Timers by name: as Etsy's server counts, as the exporter does, and the sum of the milliseconds.
    pub(super) timers: BTreeMap<String, (f64, u64, f64)>,
    pub(super) tags: Vec<String>,
    pub(super) longest: usize,
}

impl Server {
    fn read(&mut self, datagram: &[u8]) {
        self.longest = self.longest.max(datagram.len());
        for line in std::str::from_utf8(datagram).unwrap().split('\n') {
            let (name, rest) = line.split_once(':').unwrap();
            let name = name.to_owned();
            let mut parts = rest.split('|');
            let (value, kind) = (parts.next().unwrap(), parts.next().unwrap());
            let (mut rate, mut tags) = (1.0_f64, "");
            for part in parts {
                match part.split_at(1) {
                    ("@", text) => rate = text.parse().unwrap(),
                    ("#", text) => tags = text,
                    _ => panic!("{line}"),
                }
            }
            match kind {
                "c" => *self.counters.entry(name).or_default() += value.parse::<u64>().unwrap(),
                "g" => _ = self.gauges.insert(name, value.parse().unwrap()),
                "h" => _ = value.parse::<u64>().unwrap(),
                "ms" => {
                    let timer = self.timers.entry(name).or_default();
                    timer.0 += 1.0 / rate;
                    timer.1 += (1.0 / rate) as u64;
                    timer.2 += value.parse::<f64>().unwrap() / rate;
                }
                _ => panic!("{line}"),
            }
            if !self.tags.iter().any(|seen| seen == tags) {
                self.tags.push(tags.to_owned());
            }
        }
    }

    /// Requests, by each way to count them.
    pub(super) fn requests(&self) -> [u64; 4] {
        let counter = |name: &str| -> u64 {
            self.counters.iter().filter(|(key, _)| key.contains(name)).map(|(_, count)| *count).sum()
        };
        let (etsy, exporter, _) = self.timers.values().next().copied().unwrap_or_default();
        assert_eq!(etsy.fract(), 0.0);
        [counter("gunicorn.requests"), counter("gunicorn.request.status."), etsy as u64, exporter]
    }
}

/// Everything that has arrived at the socket; loopback delivers before `send` returns.
fn drain(server: &mut Server, mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> usize {
    let mut buffer = vec![0; 65_536];
    let mut datagrams = 0;
    while let Ok(length) = receive(&mut buffer) {
        server.read(&buffer[..length]);
        datagrams += 1;
    }
    datagrams
}

pub(super) fn drain_udp(server: &mut Server, socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    drain(server, |buffer| socket.recv(buffer))
}

pub(super) fn drain_unix(server: &mut Server, socket: &UnixDatagram) -> usize {
    socket.set_nonblocking(true).unwrap();
    drain(server, |buffer| socket.recv(buffer))
}
