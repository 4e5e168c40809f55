//! The books: delivered and lost is all there was.

use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use rustcorn_scoreboard::Board;

use super::*;
use crate::testing::{PATIENCE, seat};

fn span(flags: TraceFlags) -> SpanData {
    let time = std::time::UNIX_EPOCH;
    SpanData {
        span_context: SpanContext::new(TraceId::from(1), SpanId::from(1), flags, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Server,
        name: "test".into(),
        start_time: time,
        end_time: time,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

/// A collector that asks the test about each batch.
struct Asks {
    sizes: Sender<usize>,
    answers: Receiver<Result<u64, String>>,
}

impl Deliver for Asks {
    fn deliver(&mut self, batch: Vec<SpanData>) -> Result<u64, String> {
        self.sizes.send(batch.len()).map_err(|error| error.to_string())?;
        self.answers.recv().map_err(|error| error.to_string())?
    }
}

struct Story {
    board: Board,
    queue: SpanQueue,
    sizes: Receiver<usize>,
    answer: Sender<Result<u64, String>>,
}

impl Story {
    fn new(room: usize, batch: usize, delay: Duration) -> Self {
        let (board, shared) = seat(PATIENCE, PATIENCE);
        let ((sizes, told), (answer, answers)) = (channel(), channel());
        let queue = SpanQueue::start(QueueOptions { room, batch, delay }, shared, Asks { sizes, answers }).unwrap();
        Self { board, queue, sizes: told, answer }
    }

    fn add(&self, count: usize) {
        (0..count).for_each(|_| self.queue.on_end(span(TraceFlags::SAMPLED)));
    }

    fn next(&self) -> usize {
        self.sizes.recv_timeout(PATIENCE).unwrap()
    }

    fn lost(&self) -> u64 {
        self.board.counts(0).spans_dropped
    }

    /// What would be lost if the worker were killed now.
    fn lost_if_killed(&self) -> u64 {
        self.board.last_counts(0).spans_dropped
    }
}

const LATER: Duration = Duration::from_secs(3600);

#[test]
fn a_full_batch_goes_at_once_and_the_rest_after_its_delay() {
    let story = Story::new(100, 4, Duration::from_millis(1));
    story.add(4);
    let mut sent = story.next();
    story.add(3);
    assert_eq!(story.lost_if_killed(), 7);
    story.answer.send(Ok(0)).unwrap();
    while sent < 7 {
        sent += story.next();
        story.answer.send(Ok(0)).unwrap();
    }
    assert!(story.queue.force_flush().is_ok());
    assert_eq!((sent, story.lost(), story.lost_if_killed()), (7, 0, 0));
}

#[test]
fn only_sampled_spans_are_kept() {
    let story = Story::new(100, 1, LATER);
    story.queue.on_end(span(TraceFlags::NOT_SAMPLED));
    assert!(story.queue.force_flush().is_ok());
    assert_eq!(story.lost_if_killed(), 0);
}

#[test]
fn what_finds_no_room_is_lost_and_nobody_waits() {
    let story = Story::new(10, 5, LATER);
    story.add(5);
    assert_eq!(story.next(), 5); // and the collector says nothing
    story.add(25);
    assert_eq!((story.lost(), story.lost_if_killed()), (15, 30));
    (0..3).for_each(|_| story.answer.send(Ok(0)).unwrap());
    assert!(story.queue.force_flush().is_ok());
    assert_eq!((story.next(), story.next(), story.lost(), story.lost_if_killed()), (5, 5, 15, 15));
}

#[test]
fn failed_and_rejected_spans_are_lost() {
    let story = Story::new(100, 5, LATER);
    story.add(5);
    story.answer.send(Err("refused".to_owned())).unwrap();
    assert!(story.queue.force_flush().is_ok());
    assert_eq!(story.lost(), 5);
    story.add(5);
    story.answer.send(Ok(2)).unwrap();
    assert!(story.queue.force_flush().is_ok());
    assert_eq!((story.lost(), story.lost_if_killed()), (7, 7));
}

#[test]
fn at_the_end_all_is_sent_or_lost() {
    let story = Story::new(100, 10, LATER);
    story.add(15);
    (0..2).for_each(|_| story.answer.send(Ok(0)).unwrap());
    story.queue.finish(Instant::now() + PATIENCE);
    assert_eq!((story.next(), story.next(), story.lost()), (10, 5, 0));
    story.add(1);
    assert_eq!(story.lost(), 1, "too late");
}

#[test]
fn at_the_end_of_time_the_rest_is_lost_whatever_becomes_of_it() {
    let story = Story::new(100, 10, LATER);
    story.add(10);
    assert_eq!(story.next(), 10);
    story.add(3);
    story.queue.finish(Instant::now());
    assert_eq!(story.lost(), 13);
    story.answer.send(Ok(0)).unwrap(); // it arrived after all
    assert!(story.sizes.recv_timeout(PATIENCE).is_err(), "the sender has left");
    assert_eq!((story.lost(), story.lost_if_killed()), (13, 13));
}
