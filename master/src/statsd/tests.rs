//! Stories against real sockets and two readers that count as Etsy's statsd and the Prometheus exporter do.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use rustcorn_config::StatsdHost;

use super::*;
use server::{Server, drain_udp, drain_unix};

mod server;

const GAUGES: Gauges = Gauges {
    workers: 3,
    ready: 2,
    target: 4,
    load: Some(Load { busy: 1, in_flight: 5, connections: 6 }),
    backlog: Some(7),
};
const SECOND: Duration = Duration::from_secs(1);

fn statsd(host: StatsdHost, prefix: &str, tags: &str) -> Statsd {
    let mut settings = Settings::defaults();
    settings.statsd_host = Some(host);
    settings.statsd_prefix = prefix.to_owned();
    settings.dogstatsd_tags = tags.to_owned();
    Statsd::new(&settings).unwrap()
}

fn udp_host(host: &str, port: u16) -> StatsdHost {
    StatsdHost::Udp { host: host.to_owned(), port }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000) + SECOND * u32::try_from(seconds).unwrap()
}

fn news(counts: Counts) -> News {
    News { counts, ..News::default() }
}

fn requests(count: u64) -> News {
    let mut counts = Counts::default();
    (0..count).for_each(|n| counts.record(200, Duration::from_micros(100 + n * 37), 10));
    news(counts)
}

fn lines_of(statsd: &mut Statsd, news: &News) -> Vec<String> {
    statsd.unsent.add(news);
    statsd.encode(&GAUGES);
    let texts = statsd.held.drain(..).map(|datagram| String::from_utf8(datagram).unwrap());
    texts.flat_map(|text| text.split('\n').map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn nothing_without_a_host() {
    assert!(Statsd::new(&Settings::defaults()).is_none());
}

#[test]
fn servers_read_each_sample_rate_back_as_the_count() {
    for part in timer::PARTS {
        let text = (1.0 / part as f64).to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.len() <= 8, "{text}");
        let rate: f64 = text.parse().unwrap();
        assert_eq!(1.0 / rate, part as f64, "Etsy's statsd, {text}");
        assert_eq!((1.0 / rate) as u64, part, "statsd_exporter, {text}");
    }
    let mut rng = random(7);
    for n in (0..2_000).chain((0..200).map(|_| rng(10_000_000))) {
        assert_eq!(timer::parts(n).sum::<u64>(), n);
        // Two lines for each decimal digit, and those that are worth 10 000.
        assert!(timer::parts(n).count() as u64 <= 8 + n / 8_000, "{n}");
    }
}

#[test]
fn names_types_and_forms_are_those_of_gunicorn_where_it_has_them() {
    let mut counts = Counts::default();
    (0..12).for_each(|_| counts.record(200, Duration::from_micros(5849), 1));
    counts.record(999, Duration::from_secs(7), 1);
    counts.log = [0, 2, 0, 1];
    (counts.aborted, counts.accepted, counts.handshakes_failed, counts.access_lines_lost) = (8, 9, 10, 11);
    counts.refused = [0, 1, 2, 0, 0, 3];
    let news = News { counts, restarts: [0, 1, 2, 0, 3, 4], recycles: [6, 0, 7, 0], reloads_ok: 4, reloads_failed: 5 };
    let mut statsd = statsd(udp_host("127.0.0.1", 1), "a", "env:test,zone");
    assert_eq!(
        lines_of(&mut statsd, &news),
        [
            "a.gunicorn.requests:13|c|#env:test,zone",
            "a.gunicorn.request.status.200:12|c|#env:test,zone",
            "a.gunicorn.request.status.other:1|c|#env:test,zone",
            "a.gunicorn.log.error:2|c|#env:test,zone",
            "a.gunicorn.log.exception:1|c|#env:test,zone",
            "a.gunicorn.request.duration:5.865|ms|@0.1|#env:test,zone",
            "a.gunicorn.request.duration:5.865|ms|@0.5|#env:test,zone",
            "a.gunicorn.request.duration:7012.876|ms|#env:test,zone",
            "a.rustcorn.requests.aborted:8|c|#env:test,zone",
            "a.rustcorn.requests.refused.header:1|c|#env:test,zone",
            "a.rustcorn.requests.refused.framing:2|c|#env:test,zone",
            "a.rustcorn.requests.refused.proxy:3|c|#env:test,zone",
            "a.rustcorn.connections.accepted:9|c|#env:test,zone",
            "a.rustcorn.tls.handshakes.failed:10|c|#env:test,zone",
            "a.rustcorn.access_lines.lost:11|c|#env:test,zone",
            "a.rustcorn.response.bytes:13|c|#env:test,zone",
            "a.rustcorn.worker.restarts.signal:1|c|#env:test,zone",
            "a.rustcorn.worker.restarts.killed:2|c|#env:test,zone",
            "a.rustcorn.worker.restarts.boot:3|c|#env:test,zone",
            "a.rustcorn.worker.restarts.oom:4|c|#env:test,zone",
            "a.rustcorn.worker.recycles.max_requests:6|c|#env:test,zone",
            "a.rustcorn.worker.recycles.lifetime:7|c|#env:test,zone",
            "a.rustcorn.reloads.ok:4|c|#env:test,zone",
            "a.rustcorn.reloads.failed:5|c|#env:test,zone",
            "a.gunicorn.workers:3|g|#env:test,zone",
            "a.rustcorn.workers.ready:2|g|#env:test,zone",
            "a.rustcorn.workers.target:4|g|#env:test,zone",
            "a.rustcorn.workers.busy:1|g|#env:test,zone",
            "a.rustcorn.requests.in_flight:5|g|#env:test,zone",
            "a.rustcorn.connections.open:6|g|#env:test,zone",
            "a.gunicorn.backlog:7|h|#env:test,zone",
        ]
    );
}

#[test]
fn one_dot_follows_a_prefix() {
    let host = udp_host("127.0.0.1", 1);
    for (prefix, name) in
        [("", ""), ("a", "a."), ("a.", "a."), ("app...", "app."), ("a.b", "a.b."), ("...", ""), ("a..b", "a..b.")]
    {
        let mut statsd = statsd(host.clone(), prefix, "");
        assert_eq!(lines_of(&mut statsd, &News::default())[0], format!("{name}gunicorn.workers:3|g"));
    }
}

#[test]
fn buckets_shorter_than_a_microsecond_share_a_line() {
    let mut counts = Counts::default();
    (10_000..10_450).for_each(|nanos| counts.record(200, Duration::from_nanos(nanos), 1));
    let mut statsd = statsd(udp_host("127.0.0.1", 1), "", "");
    let lines = lines_of(&mut statsd, &news(counts));
    assert!(lines.contains(&"gunicorn.request.duration:0.01|ms|@0.0025".to_owned()), "{lines:?}");
}

#[test]
fn sums_are_exact_whatever_is_counted() {
    let forms = [("", ""), ("app", ""), ("my.app.", "env:test,zone:a,canary")];
    for seed in 0..30_u64 {
        let (prefix, tags) = forms[seed as usize % forms.len()];
        let mut rng = random(seed);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut statsd = statsd(udp_host("127.0.0.1", socket.local_addr().unwrap().port()), prefix, tags);
        let (mut server, mut total) = (Server::default(), Counts::default());
        for tick in 0..20 {
            let mut delta = Counts::default();
            for _ in 0..rng(60) {
                let magnitude = 5 + rng(37); // 32 ns to an hour
                let took = Duration::from_nanos(rng(1 << magnitude));
                let status = 90 + rng(600) as u16;
                (0..rng(300)).for_each(|_| delta.record(status, took, 1));
            }
            delta.log = std::array::from_fn(|_| rng(3));
            total.add(&delta);
            assert_eq!(statsd.flush(&news(delta), &GAUGES, at(tick)), None);
            drain_udp(&mut server, &socket);
        }
        assert_eq!(server.requests(), [total.requests; 4], "seed {seed}");
        for (code, count) in total.statuses() {
            let code = if code == 600 { "other".to_owned() } else { code.to_string() };
            let (_, sent) = server.counters.iter().find(|(name, _)| name.ends_with(&format!("status.{code}"))).unwrap();
            assert_eq!(*sent, count, "seed {seed}");
        }
        let logged: u64 = server.counters.iter().filter(|(name, _)| name.contains(".log.")).map(|(_, n)| n).sum();
        assert_eq!(logged, total.log.iter().sum::<u64>());
        let sum: f64 = total.durations.iter().map(|(took, n)| took.as_secs_f64() * 1000.0 * n as f64).sum();
        let sent = server.timers.values().next().unwrap().2;
        assert!((sum - sent).abs() <= total.requests as f64 * 0.0006, "seed {seed}: {sum} ms, sent {sent}");
        assert_eq!(server.gauges.values().copied().collect::<Vec<_>>(), [3, 6, 5, 1, 2, 4], "by name");
        assert_eq!(server.tags, [tags]);
        assert!(server.longest <= 7680, "{}", server.longest);
    }
}

#[test]
fn datagrams_fit_a_frame_unless_the_server_is_on_this_machine() {
    let mut statsd = statsd(udp_host("192.0.2.1", 8125), "app", "");
    statsd.unsent.add(&requests(1000));
    statsd.encode(&GAUGES);
    let lengths: Vec<usize> = statsd.held.iter().map(Vec::len).collect();
    let (_, full) = lengths.split_last().unwrap();
    assert!(full.len() > 5 && full.iter().all(|length| (1380..=1432).contains(length)), "{lengths:?}");
}

#[test]
fn a_line_longer_than_a_datagram_goes_alone() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host = udp_host("127.0.0.1", socket.local_addr().unwrap().port());
    let mut statsd = statsd(host, &"p".repeat(1024), &"t".repeat(1024));
    statsd.packer.set_limit(1432);
    statsd.gauge(&GAUGES);
    assert_eq!(statsd.packer.take().len(), 7, "six gauges and the backlog");
    // No datagram of any protocol takes this one; those after it go on.
    statsd.held.push_back(vec![b'x'; 70_000]);
    let trouble = statsd.flush(&requests(5), &GAUGES, at(0)).unwrap();
    assert_eq!(trouble.lost, 1);
    let mut server = Server::default();
    drain_udp(&mut server, &socket);
    assert_eq!(server.requests(), [5; 4]);
}

/// An aggregator that holds the last value of a gauge would show it for ever.
#[test]
fn what_nobody_counts_any_more_is_zero_once_and_then_not_said() {
    let mut statsd = statsd(udp_host("127.0.0.1", 1), "", "");
    let uncounted = Gauges { load: None, ..GAUGES };
    let mut said = |gauges: &Gauges| {
        statsd.gauge(gauges);
        let text = statsd.packer.take().join(&b"\n"[..]);
        let lines = std::str::from_utf8(&text).unwrap().lines();
        lines.filter(|line| line.contains("in_flight") || line.contains("busy")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said(&uncounted), [""; 0], "a server that began with foreign programs");
    assert_eq!(said(&GAUGES), ["rustcorn.workers.busy:1|g", "rustcorn.requests.in_flight:5|g"]);
    assert_eq!(said(&uncounted), ["rustcorn.workers.busy:0|g", "rustcorn.requests.in_flight:0|g"]);
    assert_eq!(said(&uncounted), [""; 0]);
}

/// A port that nobody else takes: not from the range of the kernel's choice, and on an address of one test's own.
fn own_port(last: u8) -> (StatsdHost, SocketAddr) {
    (udp_host(&format!("127.86.75.{last}"), 18_125), SocketAddr::from(([127, 86, 75, last], 18_125)))
}

#[test]
fn a_server_that_starts_late_gets_everything_once() {
    let (host, address) = own_port(1);
    let mut statsd = statsd(host, "", "");
    let mut troubles = Vec::new();
    for tick in 0..40 {
        troubles.extend(statsd.flush(&requests(10), &GAUGES, at(tick)).map(|trouble| (tick, trouble)));
    }
    let error = "Connection refused (os error 111)".to_owned();
    let trouble = Trouble { to: "127.86.75.1:18125".to_owned(), error, lost: 0 };
    assert_eq!(troubles, [(0, trouble.clone()), (30, trouble)], "one line per period, and nothing is lost");
    let socket = UdpSocket::bind(address).unwrap();
    let mut server = Server::default();
    for tick in 40..80 {
        assert_eq!(statsd.flush(&requests(10), &GAUGES, at(tick)), None);
        drain_udp(&mut server, &socket);
    }
    assert_eq!(server.requests(), [800; 4]);
}

#[test]
fn a_server_that_restarts_gets_everything_once() {
    let (host, address) = own_port(2);
    let mut statsd = statsd(host, "", "");
    let mut server = Server::default();
    for life in 0..3 {
        let socket = UdpSocket::bind(address).unwrap();
        for tick in 0..3 {
            statsd.flush(&requests(500), &GAUGES, at(100 * life + tick));
            drain_udp(&mut server, &socket);
        }
        drop(socket);
        for tick in 3..6 {
            let trouble = statsd.flush(&requests(500), &GAUGES, at(100 * life + tick));
            assert_eq!(trouble.is_some(), tick == 3);
        }
    }
    let trouble = statsd.finish(&requests(1), &GAUGES, at(400)).unwrap();
    assert_eq!(server.requests(), [3 * 3 * 500 + 2 * 3 * 500; 4]);
    assert!(trouble.lost >= 2, "what was held and the rest: {trouble:?}");
}

/// 0.0.0.0 reaches this machine but does not look like it, so refusals are heard late, as from another host.
#[test]
fn a_refusal_from_afar_costs_what_was_sent_before_it_and_no_more() {
    let mut statsd = statsd(udp_host("0.0.0.0", 18_126), "", "");
    assert_eq!(statsd.flush(&requests(1), &GAUGES, at(0)), None, "not heard yet");
    let trouble = statsd.flush(&requests(2), &GAUGES, at(1)).unwrap();
    assert_eq!((trouble.error.as_str(), trouble.lost), ("Connection refused (os error 111)", 1));
    for tick in 2..30 {
        assert_eq!(statsd.flush(&requests(2), &GAUGES, at(tick)), None);
    }
    let trouble = statsd.flush(&requests(2), &GAUGES, at(31)).unwrap();
    assert_eq!(trouble.lost, 0, "only probes were sent");

    let socket = UdpSocket::bind("0.0.0.0:18126").unwrap();
    let mut server = Server::default();
    for tick in 32..35 {
        assert_eq!(statsd.flush(&requests(2), &GAUGES, at(tick)), None);
        drain_udp(&mut server, &socket);
    }
    assert_eq!(server.requests(), [2 * 33; 4]);

    // Several datagrams at once: the first is lost, the rest waits.
    drop(socket);
    let trouble = statsd.flush(&requests(1000), &GAUGES, at(100)).unwrap();
    assert_eq!(trouble.lost, 1);
    let socket = UdpSocket::bind("0.0.0.0:18126").unwrap();
    for tick in 101..104 {
        statsd.flush(&News::default(), &GAUGES, at(tick));
        drain_udp(&mut server, &socket);
    }
    let (_, exporter, _) = server.timers["gunicorn.request.duration"];
    assert!((1000..1066).contains(&exporter), "{exporter}");
}

#[test]
fn names_are_looked_up_once_a_minute_and_every_address_is_tried() {
    let dead = SocketAddr::from(([127, 86, 75, 4], 18_125));
    let socket = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.86.75.6:0")).unwrap(); // not all have IPv6
    let alive = socket.local_addr().unwrap();
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = asked.clone();
    let mut statsd = statsd(udp_host("statsd.test", 8125), "", "");
    let lookup = move |host: &str, port: u16| {
        assert_eq!((host, port), ("statsd.test", 8125));
        count.set(count.get() + 1);
        if count.get() == 2 { Ok(vec![alive, dead]) } else { Err(io::Error::other("no answer from DNS")) }
    };
    statsd.destination = Destination::with_lookup(udp_host("statsd.test", 8125), Box::new(lookup));

    let trouble = statsd.flush(&requests(1), &GAUGES, at(0)).unwrap();
    assert_eq!((trouble.to.as_str(), trouble.error.as_str()), ("statsd.test:8125", "no answer from DNS"));
    (1..60).for_each(|tick| _ = statsd.flush(&requests(1), &GAUGES, at(tick)));
    assert_eq!(asked.get(), 1);
    let mut server = Server::default();
    for tick in 60..200 {
        statsd.flush(&requests(1), &GAUGES, at(tick));
        drain_udp(&mut server, &socket);
    }
    assert_eq!(asked.get(), 4, "the answer is kept when later look-ups fail");
    assert_eq!(server.requests(), [200; 4]);
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rustcorn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0); // a leftover in the temporary folder harms nobody
    }
}

#[test]
fn a_unix_socket_may_come_late_and_be_recreated() {
    let folder = Folder::new("statsd-late");
    let path = folder.0.join("s");
    let mut statsd = statsd(StatsdHost::Unix(path.clone()), "app", "a:b");
    let mut server = Server::default();
    let trouble = statsd.flush(&requests(400), &GAUGES, at(0)).unwrap();
    assert_eq!(trouble.to, format!("unix:{}", path.display()));
    assert_eq!((trouble.error.as_str(), trouble.lost), ("No such file or directory (os error 2)", 0));
    for life in 0..3 {
        let socket = UnixDatagram::bind(&path).unwrap();
        for tick in 1..10 {
            assert_eq!(statsd.flush(&requests(400), &GAUGES, at(100 * life + tick)), None);
            drain_unix(&mut server, &socket);
        }
        if life == 1 {
            drop(socket); // the file stays, and nobody listens there
            let trouble = statsd.flush(&requests(400), &GAUGES, at(100 * life + 50)).unwrap();
            assert_eq!((trouble.error.as_str(), trouble.lost), ("Connection refused (os error 111)", 0));
        }
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(server.requests(), [400 * 29; 4]);
}

#[test]
fn a_slow_reader_gets_everything_later() {
    let folder = Folder::new("statsd-slow");
    let path = folder.0.join("s");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut statsd = statsd(StatsdHost::Unix(path), "", "");
    let (mut server, mut sent, mut trouble) = (Server::default(), 0, None);
    let mut tick = 0;
    // The kernel queues a few datagrams only (net.unix.max_dgram_qlen).
    while trouble.is_none() && tick < 5000 {
        sent += 200;
        trouble = statsd.flush(&requests(200), &GAUGES, at(tick));
        tick += 1;
    }
    assert_eq!(trouble.map(|trouble| trouble.lost), Some(0), "nothing was read for a whole flush");
    assert!(statsd.held.len() <= 2, "later counts are added up, not queued");
    while drain_unix(&mut server, &socket) > 0 {
        statsd.flush(&News::default(), &GAUGES, at(tick));
        if server.requests() == [sent; 4] {
            break;
        }
    }
    assert_eq!(server.requests(), [sent; 4]);
    assert_eq!(statsd.finish(&requests(5), &GAUGES, at(tick)), None);
    drain_unix(&mut server, &socket);
    assert_eq!(server.requests(), [sent + 5; 4]);
}

#[test]
fn at_the_exit_what_cannot_be_sent_is_reported_as_lost() {
    let (host, _) = own_port(5);
    let mut statsd = statsd(host, "", "");
    assert!(statsd.flush(&requests(3), &GAUGES, at(0)).is_some());
    let trouble = statsd.finish(&requests(3), &GAUGES, at(1)).unwrap();
    assert_eq!(trouble.lost, 2, "within the quiet period, too: the held datagram and the rest");
}

/// A small generator: the same numbers for the same seed (splitmix64).
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }
}
