//! Texts, cuts, and the sequence lock with a writer that died in its middle.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

fn record() -> Record {
    let zero = || AtomicU64::new(0);
    Record { sequence: zero(), since: zero(), length: zero(), words: std::array::from_fn(|_| zero()) }
}

fn shown(record: &Record) -> Option<String> {
    record.read().map(|polled| polled.request)
}

const NOW: Monotonic = Monotonic::from_nanos(42);

#[test]
fn texts_come_back() {
    let record = record();
    assert_eq!(record.read(), None);
    for (method, path) in [("GET", "/"), ("GET", "/block"), ("OPTIONS", "*"), ("", ""), ("GET", "/hällo/€/🦀")] {
        record.begin(&PolledText::new(method, path), NOW);
        assert_eq!(record.read(), Some(Polled { request: format!("{method} {path}"), since: NOW }));
    }
    record.end();
    assert_eq!(record.read(), None);
}

#[test]
fn long_texts_are_cut_at_the_end_of_a_character() {
    for filler in ["x", "é", "€", "🦀"] {
        for offset in 0..4 {
            let path = "a".repeat(offset) + &filler.repeat(200);
            let told = format!("{:?}", PolledText::new("GET", &path));
            let told = told.trim_matches('"');
            assert!(format!("GET {path}").starts_with(told), "{told}");
            assert!((LENGTH - 3..=LENGTH).contains(&told.len()), "{} bytes", told.len());
        }
    }
    let method = "M".repeat(119) + "é";
    assert_eq!(format!("{:?}", PolledText::new(&method, "/x")), format!("\"{} \"", "M".repeat(119)));
    assert_eq!(format!("{:?}", PolledText::new(&"M".repeat(500), "/x")), format!("\"{}\"", "M".repeat(120)));
}

#[test]
fn a_record_left_half_written_is_skipped_and_the_next_writer_heals_it() {
    let record = record();
    record.begin(&PolledText::new("GET", "/first"), NOW);
    record.sequence.fetch_add(1, Relaxed); // as a SIGKILL after the first store of `begin` leaves it
    assert_eq!(shown(&record), None);
    record.begin(&PolledText::new("GET", "/second"), NOW);
    assert_eq!(shown(&record).as_deref(), Some("GET /second"));

    record.sequence.fetch_add(1, Relaxed);
    record.reset();
    assert_eq!((record.sequence.load(Relaxed), shown(&record)), (0, None));
    record.begin(&PolledText::new("GET", "/third"), NOW);
    assert_eq!(shown(&record).as_deref(), Some("GET /third"));
}

#[test]
fn a_length_out_of_bounds_is_not_believed() {
    let record = record();
    record.begin(&PolledText::new("GET", "/x"), NOW);
    record.length.store(u64::MAX, Relaxed);
    assert_eq!(shown(&record).map(|text| text.len()), Some(LENGTH));
}

#[test]
fn no_reader_sees_a_mixture() {
    let (record, done) = (record(), AtomicBool::new(false));
    let texts = ["a", "b", "c"].map(|letter| PolledText::new(letter, &letter.repeat(114)));
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200_000 {
                record.begin(&texts[n % 3], Monotonic::from_nanos(1 + (n % 3) as u64));
                if n % 5 == 0 {
                    record.end();
                }
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            if let Some(Polled { request, since }) = record.read() {
                let letter = ["a", "b", "c"][since.as_nanos() as usize - 1];
                assert_eq!(request, format!("{letter} {}", letter.repeat(114)));
            }
        }
    });
}
