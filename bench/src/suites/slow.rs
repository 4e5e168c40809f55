//! `slow`: a good client, alone and beside masses of others that are idle, slow to ask, slow to send or slow to take their answers; and
//! what one of those costs in memory.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Result;
use crate::load::{Client, warm_up};
use crate::procfs::Memory;
use crate::server::{Contender, Files, Kind, Server};
use crate::suites::{Bench, axum, in_turn, pause};
use crate::table::{Table, figure, median, range};

const WORKERS: usize = 2;
const IDLE: usize = 2000;
const SLOW_HEADS: usize = 500;
const SLOW_BODIES: usize = 200;
const SLOW_READERS: usize = 100;
/// The time that the server has for the big answers.
const SETTLE: Duration = Duration::from_millis(500);
const ALL: usize = IDLE + SLOW_HEADS + SLOW_BODIES + SLOW_READERS;

/// Of one server in one round. Times in µs, memory in KiB of all workers.
struct Turn {
    alone: Latency,
    beside: Latency,
    idle_each: f64,
    each: f64,
}

struct Latency {
    p50: f64,
    p99: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < ALL as u64 + 100 {
        return Err(format!("the hard limit of open files, {hard}, is too low for {ALL} connections").into());
    }
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?; // servers inherit it
    }
    // Small answers for the good one, and one that fits into no buffer of the kernel for those that do not read.
    let root = Files::new()?;
    root.write("index.html", "Hello World!")?;
    root.write("big", &"x".repeat(16 << 20))?;
    let rustcorn = Kind::AxumUnderRustcorn { binary: axum::service()? };
    let nginx = Kind::NginxFiles { root: root.path().to_owned() };
    let mut contenders = vec![Contender { name: "rustcorn".to_owned(), kind: rustcorn }];
    contenders.extend(bench.nginx().map(|contender| Contender { kind: nginx, ..contender }));
    let rounds = (0..bench.options.rounds)
        .map(|first| in_turn(&contenders, first, |contender| turn(contender, bench.options.seconds)))
        .collect::<Result<Vec<_>>>()?;
    let mut table = Table::new([
        "server",
        "alone: p50 µs",
        "p99 µs",
        "beside them: p50 µs",
        "p99 µs",
        "p99, beside : alone",
        "least–most",
        "KiB, idle one",
        "KiB, any",
    ]);
    for (at, contender) in contenders.iter().enumerate() {
        let all = |of: fn(&Turn) -> f64| rounds.iter().map(|round| of(&round[at])).collect::<Vec<f64>>();
        let ratios = all(|turn| turn.beside.p99 / turn.alone.p99);
        table.row([
            contender.name.clone(),
            figure(median(&all(|turn| turn.alone.p50)), 0),
            figure(median(&all(|turn| turn.alone.p99)), 0),
            figure(median(&all(|turn| turn.beside.p50)), 0),
            figure(median(&all(|turn| turn.beside.p99)), 0),
            figure(median(&ratios), 2),
            range(&ratios, 2),
            figure(median(&all(|turn| turn.idle_each)), 1),
            figure(median(&all(|turn| turn.each)), 1),
        ]);
    }
    println!(
        "{table}\nMedians of {} rounds of twice {} s; {WORKERS} workers; one client, one request after the other. Beside it: {IDLE} idle \
         connections, {SLOW_HEADS} with half a head, {SLOW_BODIES} with a body that is waited for and does not come, {SLOW_READERS} that \
         read nothing of 16 MiB. The axum service under rustcorn; nginx with files, and an upstream for the bodies. Memory: anonymous pages of the workers, over the number of connections.",
        bench.options.rounds, bench.options.seconds
    );
    Ok(())
}

fn turn(contender: &Contender, seconds: u32) -> Result<Turn> {
    let server = contender.start(WORKERS, None)?;
    warm_up(server.port())?;
    let time = Duration::from_secs(seconds.into());
    let alone = latency(server.port(), time)?;
    let before = anonymous(&server)?;
    let mut crowd = Vec::with_capacity(ALL);
    for _ in 0..IDLE {
        let mut client = Client::connect(server.port())?;
        client.get(false)?;
        crowd.push(client);
    }
    let with_idle = anonymous(&server)?;
    let slow = slow(server.port())?;
    let with_all = anonymous(&server)?;
    let beside = latency(server.port(), time)?;
    drop((crowd, slow));
    Ok(Turn {
        alone,
        beside,
        idle_each: with_idle.saturating_sub(before) as f64 / IDLE as f64,
        each: with_all.saturating_sub(before) as f64 / ALL as f64,
    })
}

fn slow(port: u16) -> Result<Vec<TcpStream>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let begin = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(bytes)?;
        std::io::Result::Ok(stream)
    };
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let body = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc";
    let mut slow = Vec::with_capacity(ALL - IDLE);
    for _ in 0..SLOW_HEADS {
        slow.push(begin(head)?);
    }
    for _ in 0..SLOW_BODIES {
        slow.push(begin(body)?);
    }
    for _ in 0..SLOW_READERS {
        slow.push(begin(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")?);
    }
    pause(SETTLE); // until the kernel's buffers are full
    for (number, stream) in slow.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let is_silent = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        if is_silent != (number < SLOW_HEADS + SLOW_BODIES) {
            return Err(format!("slow client {number} was answered, or not, at the wrong time").into());
        }
    }
    Ok(slow)
}

/// One request after the other.
fn latency(port: u16, time: Duration) -> Result<Latency> {
    let mut client = Client::connect(port)?;
    let end = Instant::now() + time;
    let mut took = Vec::with_capacity(100_000);
    while Instant::now() < end {
        let begin = Instant::now();
        client.get(false)?;
        took.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    let quantile = |q: f64| took[((took.len() - 1) as f64 * q) as usize];
    Ok(Latency { p50: quantile(0.5), p99: quantile(0.99) })
}

fn anonymous(server: &Server) -> Result<u64> {
    server.workers().into_iter().try_fold(0, |sum, pid| Ok(sum + Memory::of(pid)?.anonymous))
}
