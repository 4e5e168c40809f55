//! The control socket with scripted time and real connections: what is asked arrives, and nobody can hold the master up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustcorn_control::{Reply, Status};
use rustcorn_sys::fd::{Interest, wait_ready};
use serde_json::{Value, json};

use super::connection::{IDLE, LONGEST, PATIENCE};
use super::*;

/// The socket, those who connect, and a clock.
struct World {
    folder: PathBuf,
    socket: HeldSocket,
    control: Control,
    now: Monotonic,
}

struct Client(BufReader<UnixStream>);

impl World {
    fn new() -> Self {
        // The umask, which the socket's file is made with, is the process's.
        static ALONE: Mutex<()> = Mutex::new(());
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rustcorn-control-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::create_dir(&folder).unwrap();
        let socket = HeldSocket::bind(&folder.join("ctl"), 0o600, 64).unwrap();
        Self { folder, socket, control: Control::default(), now: Monotonic::from_nanos(1_000_000_000_000) }
    }

    /// A connection that the master has accepted.
    fn client(&mut self) -> Client {
        let stream = UnixStream::connect(self.folder.join("ctl")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(self.tend(), []);
        Client(BufReader::new(stream))
    }

    fn tend(&mut self) -> Vec<Event> {
        self.control.tend(self.now, Some(&self.socket))
    }

    /// So long until nobody has anything more to say.
    fn tend_all(&mut self) -> Vec<Event> {
        let mut events = self.tend();
        while self.is_awake() {
            events.extend(self.tend());
        }
        events
    }

    fn after(&mut self, time: Duration) -> Vec<Event> {
        self.now = self.now + time;
        self.tend_all()
    }

    fn answer(&mut self, ticket: u64, data: Value) {
        self.control.tell(self.now, Ticket(ticket), Ok(data));
    }

    fn number(&self) -> usize {
        self.control.connections.len()
    }

    /// Whether the loop would wake at once: for ever, if it did so without a reason.
    fn is_awake(&self) -> bool {
        let watched: Vec<_> = self.control.descriptors(Some(&self.socket)).collect();
        wait_ready(&watched, Some(Duration::ZERO)).unwrap().contains(&true)
            || self.control.next_deadline(self.now).is_some_and(|due| due <= self.now)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder); // what is left behind harms nobody
    }
}

impl Client {
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// The connection has ended, and nothing more came.
    fn ended(mut self) -> bool {
        let mut rest = Vec::new();
        matches!(self.0.read_to_end(&mut rest), Ok(0))
    }
}

fn asked(ticket: u64, ask: Ask) -> Event {
    Event::Asked(Ticket(ticket), ask)
}

#[test]
fn a_question_is_the_fleets_to_answer_and_the_id_comes_back() {
    let mut world = World::new();
    let mut client = world.client();
    client.say("{\"id\":[\"mine\"],\"command\":\"worker add\",\"args\":[2]}\n");
    assert_eq!(world.tend(), [asked(1, Ask::Add { count: 2, wait: false })]);
    assert_eq!(world.control.question(Ticket(1)), Some(Command::Add { count: 2, wait: false }));
    assert!(!world.is_awake(), "while the fleet decides there is nothing to do");
    world.answer(1, json!({"previous": 1, "target": 3}));
    assert_eq!(client.hear(), Reply::ok(json!(["mine"]), json!({"previous": 1, "target": 3})));
    assert!(!world.is_awake());
}

#[test]
fn help_and_reopen_need_no_decision() {
    let mut world = World::new();
    let mut client = world.client();
    client.say("{\"command\":\"help\"}\n\n{\"command\":\"reopen\"}");
    client.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.tend_all(), [Event::Signal(Sig::Usr1)], "the last line needs no end");
    assert!(client.hear().data.unwrap()["help"].as_str().unwrap().contains("worker restart"));
    assert_eq!(client.hear().status, Status::Ok);
    assert!(client.ended() && world.number() == 0);
}

#[test]
fn what_makes_no_sense_is_told_and_the_connection_goes_on() {
    let mut world = World::new();
    let mut client = world.client();
    client.say("show workers\n{\"id\":2,\"command\":\"fly\"}\n");
    assert_eq!(world.tend_all(), []);
    assert!(client.hear().error.unwrap().starts_with("not a request: "));
    let reply = client.hear();
    assert!(reply.id == json!(2) && reply.error.unwrap().starts_with("unknown command \"fly\""));
    assert_eq!(world.number(), 1);
}

#[test]
fn requests_that_come_faster_than_answers_wait_their_turn() {
    let mut world = World::new();
    let mut client = world.client();
    client.say(&"{\"command\":\"show stats\"}\n".repeat(3));
    for ticket in 1..=3 {
        assert_eq!(world.tend_all(), [asked(ticket, Ask::Look)]);
        assert!(!world.is_awake(), "bytes that wait do not make the loop spin");
        world.answer(ticket, json!(ticket));
        assert_eq!(client.hear().data, Some(json!(ticket)));
    }
}

#[test]
fn who_hangs_up_is_not_waited_for_and_who_only_stops_talking_is() {
    let mut world = World::new();
    let (mut gone, mut quiet) = (world.client(), world.client());
    for client in [&mut gone, &mut quiet] {
        client.say("{\"command\":\"reload --wait\"}\n");
        client.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }
    let reload = || Ask::Reload { wait: true };
    assert_eq!(world.tend(), [asked(1, reload()), asked(2, reload())]);
    assert_eq!(world.after(100 * IDLE), [], "however long it takes");
    assert!(!world.is_awake());
    drop(gone);
    assert!(world.is_awake());
    assert_eq!(world.tend(), [Event::Withdrawn(Ticket(1))]);
    world.answer(1, json!(1)); // nobody's
    world.answer(2, json!(2));
    assert_eq!(quiet.hear().data, Some(json!(2)));
    world.tend();
    assert!(quiet.ended());
}

#[test]
fn the_silent_and_the_slow_are_let_go() {
    let mut world = World::new();
    let (idle, mut half) = (world.client(), world.client());
    half.say("{\"comm");
    world.tend();
    world.after(PATIENCE - Duration::from_secs(1));
    half.say("and\":"); // a byte now and then buys no time
    world.after(Duration::from_millis(999));
    assert_eq!(world.number(), 2);
    world.after(Duration::from_millis(1));
    assert!(half.ended() && world.number() == 1);
    world.after(IDLE);
    assert!(idle.ended() && world.number() == 0);
    assert_eq!(world.control.next_deadline(world.now), None);
}

#[test]
fn who_does_not_read_is_let_go() {
    let mut world = World::new();
    let mut client = world.client();
    client.say("{\"command\":\"show all\"}\n");
    world.tend();
    world.answer(1, Value::String("x".repeat(8 << 20))); // more than the kernel keeps for anybody
    assert!(!world.is_awake());
    world.after(PATIENCE - Duration::from_millis(1));
    assert_eq!(world.number(), 1);
    world.after(Duration::from_millis(1));
    assert_eq!(world.number(), 0);
}

#[test]
fn a_long_answer_goes_out_as_fast_as_it_is_read() {
    let mut world = World::new();
    let mut client = world.client();
    client.say("{\"command\":\"show all\"}\n");
    world.tend();
    let text = "x".repeat(4 << 20);
    world.answer(1, Value::String(text.clone()));
    let reader = std::thread::spawn(move || client.hear());
    while !reader.is_finished() {
        let watched: Vec<_> = world.control.descriptors(None).collect();
        assert!(watched.iter().all(|(_, interest)| *interest != Interest::HangUp));
        wait_ready(&watched, Some(Duration::from_millis(10))).unwrap();
        world.tend();
    }
    assert_eq!(reader.join().unwrap().data, Some(Value::String(text)));
}

#[test]
fn a_request_without_end_is_refused() {
    let mut world = World::new();
    let mut client = world.client();
    client.say(&"x".repeat(LONGEST));
    for _ in 0..10 {
        world.tend_all();
    }
    assert!(client.hear().error.unwrap().contains("at most 16384 bytes"));
    assert!(client.ended() && world.number() == 0);
}

#[test]
fn garbage_ends_where_its_line_ends() {
    let mut world = World::new();
    let mut client = world.client();
    client.0.get_mut().write_all(b"\xff\x00{]\r\n{\"command\":\"help\"}\r\n").unwrap();
    world.tend_all();
    assert_eq!((client.hear().status, client.hear().status), (Status::Error, Status::Ok));
}

#[test]
fn one_more_than_many_takes_the_place_of_the_most_silent() {
    let mut world = World::new();
    let mut asking = world.client();
    asking.say("{\"command\":\"reload --wait\"}\n");
    world.tend();
    let mut silent: Vec<Client> = Vec::new();
    for _ in 1..MOST {
        world.now = world.now + Duration::from_millis(1);
        silent.push(world.client());
    }
    let mut newest = world.client();
    assert_eq!(world.number(), MOST);
    assert!(silent.remove(0).ended(), "the first of those that have asked nothing");
    newest.say("{\"command\":\"reload --wait\"}\n");
    assert_eq!(world.tend(), [asked(2, Ask::Reload { wait: true })]);
    for client in &mut silent {
        client.say("{\"command\":\"reload --wait\"}\n");
    }
    assert_eq!(world.tend().len(), MOST - 2);
    let mut late = world.client();
    assert!(late.hear().error.unwrap().starts_with("32 others are waiting for answers"));
    assert!(late.ended());
    world.answer(1, json!(1));
    assert_eq!(asking.hear().data, Some(json!(1)), "nobody who waits for an answer is sent away");
}
