//! Masses of clients that are idle, slow to ask, slow to send or slow to take, beside one that is good: it notices nothing, they are
//! closed at their limits, and what they cost is bounded and does not add up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::balance::{admin_of, metric};
use crate::harness::{Conn, PATIENCE, Server, Setup, eventually, full, not_tested};

/// What a connection may cost a worker while it is idle. An aim beyond what is needed: see the figures that the test prints.
const IDLE_COSTS: u64 = 16;
/// What one of them may cost on average when all kinds are there.
const ANY_COSTS: u64 = 24;
/// Pages that an allocator keeps, and whatever else moves by itself. In KiB.
const SLACK: u64 = 1024;

/// How many of each.
#[derive(Clone, Copy)]
struct Sizes {
    idle: usize,
    heads: usize,
    bodies: usize,
    readers: usize,
}

impl Sizes {
    const fn all(self) -> usize {
        self.idle + self.heads + self.bodies + self.readers
    }
}

/// The good one: a request after the other on a connection that stays open.
struct Good {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Duration)>,
}

impl Good {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut conn = Conn::open(address).expect("accepted");
            let (mut answered, mut longest) = (0, Duration::ZERO);
            while !stopped.load(Relaxed) {
                let begin = Instant::now();
                let response = conn.get("/pid").expect("every good request is answered");
                assert!(response.status == 200 && !response.closes());
                longest = longest.max(begin.elapsed());
                answered += 1;
            }
            (answered, longest)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (usize, Duration) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("nothing went wrong")
    }
}

/// Those that did all that they will do.
struct Crowd {
    idle: Vec<TcpStream>,
    heads: Vec<TcpStream>,
    bodies: Vec<TcpStream>,
    readers: Vec<TcpStream>,
}

/// Connects with so small a buffer that hardly anything is taken without being read.
fn connect(address: SocketAddr, small: bool) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if small {
        socket.set_recv_buffer_size(4096).expect("a size");
    }
    socket.connect_timeout(&address.into(), PATIENCE).expect("the server accepts");
    socket.into()
}

fn idle(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address, false);
    stream.write_all(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut bytes = [0; 1024];
    assert!(stream.read(&mut bytes).expect("answered") > 0);
    stream
}

fn starting(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = connect(address, false);
    stream.write_all(bytes.as_bytes()).expect("sent");
    stream
}

/// Asks for more than fits into the buffers of the kernel, and reads nothing.
fn reader(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address, true);
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    stream
}

impl Crowd {
    fn gather_slow(&mut self, address: SocketAddr, sizes: Sizes) {
        self.heads.extend((0..sizes.heads).map(|_| starting(address, "GET /pid HTTP/1.1\r\nHost: a\r\nX-Slow: ")));
        let body = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc";
        self.bodies.extend((0..sizes.bodies).map(|_| starting(address, body)));
        self.readers.extend((0..sizes.readers).map(|_| reader(address)));
    }

    /// Waits until the server has closed each of them, and gives what it said last to those that are slow to ask or to send.
    fn wait_for_end(self) -> (Vec<String>, Vec<String>) {
        let last_words = |streams: Vec<TcpStream>| streams.into_iter().map(last_words).collect::<Vec<_>>();
        let idle = last_words(self.idle);
        assert!(idle.iter().all(String::is_empty), "who is idle is told nothing");
        last_words(self.readers);
        (last_words(self.heads), last_words(self.bodies))
    }
}

/// What comes until the server closes or resets.
fn last_words(mut stream: TcpStream) -> String {
    stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE * 3))).expect("it is a socket");
    let (mut words, mut bytes) = (Vec::new(), [0; 16 * 1024]);
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) => words.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("it is never closed: {error}"),
        }
    }
    String::from_utf8_lossy(&words).into_owned()
}

/// Memory of all workers that is nobody else's, in KiB.
fn memory(server: &Server, admin: u32) -> u64 {
    let own = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("the kernel says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    server.workers().into_iter().filter(|pid| *pid != admin).map(own).sum()
}

/// What one of `count` costs, in KiB.
fn each(before: u64, then: u64, count: usize) -> f64 {
    then.saturating_sub(before) as f64 / count as f64
}

fn enough_descriptors(wanted: usize) -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit everybody may");
    }
    hard >= wanted as u64
}

#[test]
fn masses_of_slow_clients_are_closed_at_their_limits_and_a_good_one_notices_nothing() {
    let sizes = if full() {
        Sizes { idle: 2000, heads: 500, bodies: 200, readers: 100 }
    } else {
        Sizes { idle: 200, heads: 50, bodies: 20, readers: 10 }
    };
    if !enough_descriptors(sizes.all() + 500) {
        return not_tested(&format!("{} slow clients: the hard limit of open files is too low", sizes.all()));
    }
    let (keepalive, slow) = if full() { (20, 8) } else { (6, 2) };
    let limits = format!(
        "workers = 2\nworker_connections = 4000\nadmin_bind = \"127.0.0.1:0\"\nkeepalive = {keepalive}\nheader_timeout = {slow}\n\
         body_timeout = {slow}\nwrite_timeout = {slow}"
    );
    let server = Setup::testapp().without("journal").set(&limits).start();
    let (address, admin) = (server.address(), admin_of(&server));
    let booted = server.wait_for_line("Booting admin process with pid: ");
    let admin_pid: u32 = booted.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its pid");
    let refused = || metric(admin, "rustcorn_requests_refused_total{why=\"time\"}");
    // What the application keeps for all answers is to be there before, in both workers.
    let all: Vec<TcpStream> = (0..8).map(|_| reader(address)).collect();
    eventually("all are being answered", PATIENCE, || {
        (metric(admin, "rustcorn_requests_total") >= 8.0).then_some(()) // a response that is one piece counts when it begins
    });
    drop(all);
    eventually("they are gone", PATIENCE, || (metric(admin, "rustcorn_connections") == 0.0).then_some(()));
    let good = Good::start(address);
    let mut peaks = Vec::new();
    let before = memory(&server, admin_pid);
    for round in 1..=3 {
        let refused_before = refused();
        let idle = (0..sizes.idle).map(|_| idle(address)).collect();
        let mut crowd = Crowd { idle, heads: Vec::new(), bodies: Vec::new(), readers: Vec::new() };
        let with_idle = memory(&server, admin_pid);
        crowd.gather_slow(address, sizes);
        let open = metric(admin, "rustcorn_connections");
        let peak = memory(&server, admin_pid);
        let (heads, bodies) = crowd.wait_for_end();
        let late = |said: &[String]| said.iter().filter(|words| words.starts_with("HTTP/1.1 408 ")).count();
        let words = (late(&heads), late(&bodies));
        eventually("all but the good one are gone", PATIENCE, || {
            (metric(admin, "rustcorn_connections") <= 1.0).then_some(())
        });
        let after = memory(&server, admin_pid);
        eprintln!(
            "round {round}: {open} connections at once; KiB of both workers: {before} before, {with_idle} with {} idle ones ({:.1} \
             each), {peak} with all ({:.1} each), {after} after; {words:?} slow heads and bodies were answered 408",
            sizes.idle,
            each(before, with_idle, sizes.idle),
            each(before, peak, sizes.all()),
        );
        assert_eq!(words, (sizes.heads, sizes.bodies), "{:?} {:?}", heads.first(), bodies.first());
        assert_eq!(refused() - refused_before, (sizes.heads + sizes.bodies) as f64);
        // Later crowds find what earlier ones left, in pieces that do not all fit.
        assert!(round > 1 || with_idle <= before + IDLE_COSTS * sizes.idle as u64 + SLACK, "{with_idle} KiB");
        assert!(peak <= before + ANY_COSTS * sizes.all() as u64 + SLACK, "{peak} KiB");
        peaks.push(peak);
    }
    assert!(peaks[2] <= peaks[1] + peaks[1] / 8 + SLACK, "what crowds took is there for the next: {peaks:?}");
    let (answered, longest) = good.stop();
    eprintln!("the good client: {answered} answers, the longest took {longest:.1?}");
    assert!(answered > 100, "{answered}");
}

#[test]
fn what_a_crowd_took_goes_back_to_the_kernel() {
    if cfg!(not(target_env = "gnu")) {
        return not_tested("memory that goes back: another C library's allocator");
    }
    const MANY: usize = 1000;
    if !enough_descriptors(MANY + 500) {
        return not_tested(&format!("{MANY} clients: the hard limit of open files is too low"));
    }
    let set = "workers = 1\nworker_connections = 2000\nadmin_bind = \"127.0.0.1:0\"";
    let server = Setup::testapp().without("journal").set(set).start();
    let (address, admin) = (server.address(), admin_of(&server));
    let booted = server.wait_for_line("Booting admin process with pid: ");
    let admin_pid: u32 = booted.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its pid");
    drop(idle(address));
    let before = memory(&server, admin_pid);
    let crowd: Vec<TcpStream> = (0..MANY).map(|_| idle(address)).collect();
    let stays = idle(address); // at the end of the heap, with what a client that stays has
    let peak = memory(&server, admin_pid);
    assert!(peak > before + 4 * MANY as u64, "{peak} KiB: a crowd that costs nothing shows nothing");
    drop(crowd);
    let after = eventually("it is given back", PATIENCE, || {
        let now = memory(&server, admin_pid);
        (now < before + SLACK).then_some(now)
    });
    eprintln!("KiB: {before} before {MANY} clients, {peak} with them, {after} after");
    assert_eq!(metric(admin, "rustcorn_connections"), 1.0);
    drop(stays);
}
