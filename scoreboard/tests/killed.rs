//! Two real processes: a worker that counts as fast as it can, killed at no moment in particular.
//!
//! The worker is this very test binary, started again for the one test [`worker`]; the scoreboard is its standard input.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustcorn_scoreboard::{Board, Counts, Phase, PolledText, State, Threads, Writer};
use rustcorn_sys::{Monotonic, Pid};

const ROLE: &str = "RUSTCORN_TEST_THREADS";
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test of its own: the worker of the tests below.
#[test]
fn worker() {
    let Ok(threads) = std::env::var(ROLE) else { return };
    let threads: u64 = threads.parse().expect("a number");
    let fd = io::stdin().as_fd().try_clone_to_owned().expect("the scoreboard is our standard input");
    let kind = if threads == 1 { Threads::One } else { Threads::Many };
    let writer = Writer::attach(fd, 0, kind).expect("the master gave us a scoreboard");
    writer.boot(Pid::this(), 1);
    writer.set_state(State::Ready);
    let writer = &writer;
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || serve(writer, thread));
        }
        serve(writer, 0);
    });
}

/// Requests until told to leave, or killed.
fn serve(writer: &Writer, thread: u64) {
    let texts = ["/a", "/bb", "/ccc"].map(|path| PolledText::new("GET", &path.repeat(30)));
    for n in thread.. {
        writer.request_started();
        let poll = writer.poll_begin(&texts[n as usize % 3], Monotonic::from_nanos(n));
        drop(poll);
        writer.request_finished(200 + (n % 400) as u16, Duration::from_nanos(1_000 + n * n % 1_000_000_000), 1);
        if writer.phase() == Phase::Stopping {
            return;
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill(); // gone already is fine
        let _ = self.0.wait();
    }
}

fn start(board: &Board, threads: u64) -> Killed {
    let this = std::env::current_exe().expect("the path of the test binary");
    let child = Command::new(this)
        .args(["worker", "--exact", "--quiet"])
        .env(ROLE, threads.to_string())
        .stdin(Stdio::from(board.fd().try_clone_to_owned().expect("a descriptor can be duplicated")))
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary can be started");
    Killed(child)
}

/// Reads until there are `requests`, and checks that nothing ever goes back.
fn watch(board: &Board, requests: u64) -> Counts {
    let deadline = Instant::now() + PATIENCE;
    let mut last = Counts::default();
    while last.requests < requests {
        assert!(Instant::now() < deadline, "the worker stopped counting: {:?}", board.vitals(0));
        let now = board.counts(0);
        last.add(&now.since(&last));
        assert!(last == now, "a counter went back");
        assert!(board.polled(0).iter().all(|polled| polled.request.starts_with("GET /")), "{:?}", board.polled(0));
        std::thread::yield_now();
    }
    last
}

fn sums_agree(counts: &Counts) {
    let statuses: u64 = counts.statuses().map(|(_, count)| count).sum();
    assert_eq!((counts.requests, statuses), (counts.durations.total(), counts.requests));
}

fn killed_at_no_moment_in_particular(threads: u64, rounds: u64) {
    let board = Board::create().expect("memfd");
    let mut totals = Counts::default();
    for round in 0..rounds {
        let worker = start(&board, threads);
        let seen = watch(&board, 100 + round * 97);
        let pid = Pid::from_raw(worker.0.id() as i32);
        drop(worker); // SIGKILL, then reaped
        let (counts, vitals) = (board.counts(0), board.vitals(0));
        sums_agree(&counts);
        assert_eq!(counts.since(&seen).requests, counts.requests - seen.requests, "what was seen stays");
        assert!(counts.requests - counts.bytes <= threads, "only the last answers' bytes may be missing: {counts:?}");
        assert!(vitals.in_flight <= threads, "{vitals:?}");
        assert_eq!((vitals.pid, vitals.state), (pid, State::Ready));
        totals.add(&counts);
        sums_agree(&totals);
        board.reset(0);
        assert_eq!(board.counts(0), Counts::default());
        assert_eq!(board.polled(0), []);
    }
}

#[test]
fn a_killed_worker_leaves_sums_that_agree() {
    killed_at_no_moment_in_particular(1, 40);
}

#[test]
fn a_killed_worker_with_many_threads_does_too() {
    killed_at_no_moment_in_particular(5, 20);
}

#[test]
fn a_worker_hears_the_phase_and_leaves_everything_counted() {
    let board = Board::create().expect("memfd");
    let mut worker = start(&board, 3);
    watch(&board, 1_000);
    board.set_phase(Phase::Stopping);
    assert!(worker.0.wait().expect("the worker is our child").success());
    let counts = board.counts(0);
    sums_agree(&counts);
    assert_eq!((counts.bytes, board.vitals(0).in_flight), (counts.requests, 0));
}
