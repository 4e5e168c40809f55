//! Each message against the bytes of Python's own packer, and a master's messages cut and bent.

use super::golden::{received, sent};
use super::*;

fn users(counts: &[(&str, u32)]) -> Counts {
    counts.iter().map(|(class, count)| ((*class).to_owned(), *count)).collect()
}

fn idle(name: &str, method: &str) -> Entry {
    Entry {
        name: name.into(),
        method: method.into(),
        last_request: None,
        start: 1_763_955_000.25,
        requests: 0,
        untimed: 0,
        failures: 0,
        total_millis: 0.0,
        max_millis: 0.0,
        min_millis: None,
        bytes: 0,
        buckets: BTreeMap::new(),
        per_second: BTreeMap::new(),
        failures_per_second: BTreeMap::new(),
    }
}

fn report() -> Report {
    let entry = Entry {
        last_request: Some(1_763_955_003.5),
        requests: 3,
        failures: 1,
        total_millis: 13.75,
        max_millis: 12.5,
        min_millis: Some(0.25),
        bytes: 36,
        buckets: [(Bucket::of_micros(251), 1), (Bucket::of_micros(1_000), 1), (Bucket::of_micros(12_500), 1)].into(),
        per_second: [(1_763_955_002, 1), (1_763_955_003, 2)].into(),
        failures_per_second: [(1_763_955_003, 1)].into(),
        ..idle("/", "GET")
    };
    let error = ErrorRow {
        name: "/".into(),
        method: "GET".into(),
        error: "503".into(),
        count: 1,
        first_seen: 1_763_955_003.25,
        last_seen: 1_763_955_003.5,
    };
    Report { entries: vec![entry], total: idle("Aggregated", ""), errors: vec![error], users: users(&[("Browse", 3)]) }
}

#[test]
fn a_workers_messages_are_byte_for_byte_pythons() {
    let heartbeat = Heartbeat { state: State::Running, cpu: 12.5, memory: 1 << 20 };
    let exception = ToMaster::Exception { message: "no such class".into(), traceback: "class Foo".into() };
    let table = [
        (ToMaster::ClientReady, sent::CLIENT_READY),
        (ToMaster::Heartbeat(heartbeat), sent::HEARTBEAT),
        (ToMaster::Spawning, sent::SPAWNING),
        (ToMaster::SpawningComplete(users(&[("Browse", 3), ("Buy", 1)])), sent::SPAWNING_COMPLETE),
        (ToMaster::Stats(Box::new(report())), sent::STATS),
        (ToMaster::ClientStopped, sent::CLIENT_STOPPED),
        (exception, sent::EXCEPTION),
        (ToMaster::Logs(vec!["a".into(), "b".into()]), sent::LOGS),
        (ToMaster::Quit, sent::QUIT),
        (ToMaster::Locustfile, sent::LOCUSTFILE),
    ];
    for (message, golden) in table {
        let packed = pack(&message, "n_1");
        assert_eq!(packed.escape_ascii().to_string(), golden.escape_ascii().to_string(), "{message:?}");
    }
}

#[test]
fn a_masters_messages_are_understood() {
    let spawn = Spawn {
        timestamp: 1_763_955_000.25,
        users: users(&[("Browse", 3), ("Buy", 1)]),
        host: Some("http://t:8000".into()),
        stop_timeout: 2.5,
        reset_stats: true,
    };
    let bare = Spawn {
        timestamp: 1_763_955_001.5,
        users: users(&[("Browse", 0)]),
        host: None,
        stop_timeout: 0.0,
        reset_stats: false,
    };
    let update = ClassUpdate {
        class: "Browse".into(),
        host: Some("http://u:1".into()),
        others: vec!["weight".into(), "tasks".into()],
    };
    let sources = vec![
        Source::Text { name: "locustfile.py".into(), contents: "# hi\n".into() },
        Source::Url("http://x/y.py".into()),
    ];
    let table = [
        (received::ACK, FromMaster::Ack(Some(3))),
        (received::ACK_OLD, FromMaster::Ack(None)),
        (received::SPAWN, FromMaster::Spawn(spawn)),
        (received::SPAWN_BARE, FromMaster::Spawn(bare)),
        (received::COMPLETE, FromMaster::SpawningComplete),
        (received::STOP, FromMaster::Stop),
        (received::QUIT, FromMaster::Quit),
        (received::HEARTBEAT, FromMaster::Heartbeat),
        (received::RECONNECT, FromMaster::Reconnect),
        (received::UPDATE, FromMaster::UpdateUserClass(update)),
        (received::LOCUSTFILE, FromMaster::Locustfile(Ok(sources))),
        (received::LOCUSTFILE_ERROR, FromMaster::Locustfile(Err("must be a full path".into()))),
        (received::CUSTOM, FromMaster::Custom("acknowledge_users".into())),
    ];
    for (bytes, message) in table {
        assert_eq!(unpack(bytes), Ok(message));
    }
}

#[test]
fn a_message_cut_short_or_with_a_byte_changed_is_an_error_and_never_a_panic() {
    for bytes in [received::SPAWN, received::LOCUSTFILE, received::UPDATE, received::ACK] {
        for end in 0..bytes.len() {
            assert!(unpack(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bent = bytes.to_vec();
                bent[at] ^= flip;
                let _ = unpack(&bent); // either is right: some changes only rename a key
            }
        }
        assert!(unpack(&[bytes, b"\xc0"].concat()).is_err(), "a byte too many");
    }
}

#[test]
fn what_is_not_a_message_says_why() {
    let deep = [vec![0x91; 100_000], vec![0xc0]].concat();
    let table: [(&[u8], &str); 9] = [
        (b"", "not msgpack"),
        (b"\xc1", "not an array"),                // reserved: read as nil
        (b"\xdd\xff\xff\xff\xff", "not msgpack"), // an array of four thousand million, none there
        (&deep, "not msgpack"),
        (b"\xc0", "not an array"),
        (b"\x92\xa3ack\xc0", "an array of 2"),
        (b"\x93\x01\xc0\xc0", "type is not text"),
        (b"\x93\xa5spawn\xc0\xc0", "spawn without a usable timestamp"),
        (b"\x93\xa5spawn\x82\xa9timestamp\x01\xb2user_classes_count\x81\xa1A\xff\xc0", "user_classes_count"),
    ];
    for (bytes, why) in table {
        let error = unpack(bytes).expect_err(why).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}
