use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use super::*;
use crate::tests::alone;

fn syslog(address: &str) -> Syslog {
    let facility = "local3".parse().unwrap();
    let plan = Plan { address: address.parse().unwrap(), facility, tag: "rustcorn.shop.error".to_owned() };
    Syslog::new(plan, at(0))
}

fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("rustcorn-syslog-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path); // of an earlier run with this number
    path
}

fn expected(severity: u8, message: &str) -> String {
    format!("<{}>rustcorn.shop.error: [{}] {message}", 19 * 8 + severity, std::process::id())
}

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_nanos(1_000_000_000_000) + Duration::from_secs(seconds)
}

const LEVELS: [(Level, u8); 5] =
    [(Level::Debug, 7), (Level::Info, 6), (Level::Warning, 4), (Level::Error, 3), (Level::Critical, 2)];

#[test]
fn addresses_and_facilities_are_read_back() {
    for text in ["unix:///dev/log", "unix:///a b#dgram", "unix://x#stream", "udp://localhost:514", "tcp://[::1]:601"] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
    }
    for text in ["/dev/log", "udp://host", "udp://host:x", "http://host:80"] {
        assert!(text.parse::<Address>().is_err(), "{text}");
    }
    for name in Facility::names() {
        let facility: Facility = name.parse().unwrap();
        assert_eq!(facility.to_string().parse(), Ok(facility));
    }
    assert_eq!("LOCAL7".parse::<Facility>().unwrap().number(), 23);
    assert!("local8".parse::<Facility>().is_err());
}

#[test]
fn each_level_is_a_datagram_with_its_priority() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut syslog = syslog(&format!("udp://{}", server.local_addr().unwrap()));
    let mut bytes = [0; 8192];
    for (level, severity) in LEVELS {
        assert_eq!(syslog.say(level, "it is", at(0)), None);
        let length = server.recv(&mut bytes).unwrap();
        assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), expected(severity, "it is"));
    }
    assert_eq!(syslog.say(Level::Info, &"ä".repeat(4000), at(0)), None);
    let length = server.recv(&mut bytes).unwrap();
    assert!(length <= PIPE_BUF && bytes[..length].ends_with("…".as_bytes()), "{length}");
}

#[test]
fn a_unix_socket_of_either_kind_is_found_out() {
    let path = socket_path("either");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut over = syslog(&format!("unix://{}", path.display()));
    assert_eq!(over.say(Level::Info, "datagram", at(0)), None);
    let mut bytes = [0; 100];
    let length = server.recv(&mut bytes).unwrap();
    assert_eq!(bytes[..length], *expected(6, "datagram").as_bytes());
    std::fs::remove_file(&path).unwrap();

    let server = UnixListener::bind(&path).unwrap();
    let mut over = syslog(&format!("unix://{}", path.display()));
    assert_eq!(over.say(Level::Error, "stream", at(0)), None);
    assert_eq!(over.say(Level::Error, "again", at(0)), None);
    drop(over);
    let mut said = String::new();
    server.accept().unwrap().0.read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("{}\n{}\n", expected(3, "stream"), expected(3, "again")));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_server_that_comes_back_is_found_and_what_was_lost_meanwhile_is_said_once_a_minute() {
    let _alone = alone();
    let path = socket_path("back");
    let mut syslog = syslog(&format!("unix://{}#dgram", path.display()));
    let trouble = syslog.say(Level::Info, "lost", at(0)).expect("the first is said at once");
    assert_eq!((trouble.lost, trouble.error.as_str()), (1, "No such file or directory"));
    assert_eq!(trouble.address, format!("unix://{}#dgram", path.display()));
    for _ in 0..1000 {
        assert_eq!(syslog.say(Level::Info, "lost", at(1)), None);
    }
    let server = UnixDatagram::bind(&path).unwrap();
    assert_eq!(syslog.say(Level::Info, "found", at(3)), None);
    let mut bytes = [0; 100];
    let length = server.recv(&mut bytes).unwrap();
    assert_eq!(bytes[..length], *expected(6, "found").as_bytes());
    // Started again, under the same name.
    drop(server);
    std::fs::remove_file(&path).unwrap();
    let server = UnixDatagram::bind(&path).unwrap();
    assert_eq!(syslog.say(Level::Info, "found again", at(5)), None);
    let length = server.recv(&mut bytes).unwrap();
    assert_eq!(bytes[..length], *expected(6, "found again").as_bytes());
    assert_eq!(syslog.say(Level::Info, "late", at(61)).map(|trouble| trouble.lost), Some(1000));
    assert_eq!(syslog.say(Level::Info, "later", at(200)), None, "nothing was lost since");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn nobody_at_a_udp_port_is_noticed_without_waiting() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut syslog = syslog(&format!("udp://{port}"));
    let trouble = syslog.say(Level::Info, "lost", at(0)).expect("loopback refuses at once");
    assert_eq!((trouble.lost, trouble.error.as_str()), (1, "Connection refused"));
    let server = UdpSocket::bind(port).unwrap();
    assert_eq!(syslog.say(Level::Info, "found", at(1)), None);
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 100];
    let length = server.recv(&mut bytes).unwrap();
    assert_eq!(bytes[..length], *expected(6, "found").as_bytes());
}

/// A stream that nobody reads loses whole lines, never parts of one, and waits for nobody.
#[test]
fn a_stream_that_is_not_read_loses_lines_as_a_whole() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut syslog = syslog(&format!("tcp://{}", server.local_addr().unwrap()));
    let (mut connection, _) = server.accept().unwrap();
    let mut said = 0;
    let mut lost = 0;
    let message = |number: u64| format!("{number} {}", "x".repeat(2000));
    while lost == 0 {
        lost += syslog.say(Level::Info, &message(said), at(0)).map_or(0, |trouble| trouble.lost);
        said += 1;
        assert!(said < 100_000, "buffers are finite");
    }
    assert_eq!(syslog.error, "it does not take them as fast as they come");
    // Now somebody reads, and the next line arrives whole, after what was there.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        text
    });
    loop {
        let lost = syslog.lost;
        assert_eq!(syslog.say(Level::Info, "the last", at(1)), None, "it is not yet time to speak again");
        if syslog.lost == lost {
            break;
        }
        std::thread::yield_now();
    }
    drop(syslog);
    let text = reader.join().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(*lines.last().unwrap(), expected(6, "the last"));
    for (number, line) in (0..).zip(&lines[..lines.len() - 1]) {
        assert_eq!(*line, expected(6, &message(number)));
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_stream_whose_server_left_is_connected_again() {
    let _alone = alone();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut syslog = syslog(&format!("tcp://{}", server.local_addr().unwrap()));
    drop(server.accept().unwrap()); // its end-of-file is there before the next line
    assert_eq!(syslog.say(Level::Info, "to the next", at(2)), None);
    drop(syslog);
    let mut text = String::new();
    server.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, expected(6, "to the next") + "\n");
}

#[test]
fn a_name_that_stands_for_nothing_is_trouble_and_no_more() {
    let mut syslog = syslog("udp://no\0name:514");
    assert_eq!(syslog.say(Level::Info, "lost", at(0)).map(|trouble| trouble.lost), Some(1));
}
