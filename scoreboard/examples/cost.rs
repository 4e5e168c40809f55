//! Prints what counting costs: `cargo run --release -p rustcorn-scoreboard --example cost`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustcorn_scoreboard::{Board, PolledText, Threads, Writer};
use rustcorn_sys::Monotonic;

fn main() -> std::io::Result<()> {
    let board = Board::create()?;
    for (slot, threads) in [Threads::One, Threads::Many].into_iter().enumerate() {
        let writer = Writer::attach(board.fd().try_clone_to_owned()?, slot, threads)?;
        let text = PolledText::new("GET", "/hello");
        let cycle = |n: u64| {
            writer.request_started();
            drop(black_box(writer.poll_begin(black_box(&text), Monotonic::from_nanos(n))));
            writer.request_finished(black_box(200), Duration::from_nanos(black_box(20_000 + (n & 0xfff))), 12);
        };
        let count =
            |n: u64| writer.request_finished(black_box(200), Duration::from_nanos(black_box(20_000 + (n & 0xfff))), 12);
        println!(
            "{threads:?}: started + polled once + finished {:.1} ns, finished alone {:.1} ns",
            time(cycle),
            time(count)
        );
    }
    println!(
        "PolledText::new {:.1} ns",
        time(|_| _ = black_box(PolledText::new(black_box("GET"), black_box("/hello"))))
    );
    println!(
        "Board::counts {:.0} ns, of an unused slot {:.0} ns",
        time(|_| _ = board.counts(0)),
        time(|_| _ = board.counts(9))
    );
    Ok(())
}

/// Nanoseconds per call: the best of a few rounds.
fn time(call: impl Fn(u64)) -> f64 {
    const CALLS: u64 = 100_000;
    let round = || {
        let start = Instant::now();
        (0..CALLS).for_each(&call);
        start.elapsed().as_nanos() as f64 / CALLS as f64
    };
    (0..10).map(|_| round()).fold(f64::INFINITY, f64::min)
}
