//! Durations and addresses, form by form.

use std::path::PathBuf;
use std::time::Duration;

use rustcorn_sys::log::syslog;

use crate::input::Input;
use crate::log_rule::{LogFile, SyslogServer};
use crate::rule::Rule;
use crate::{Address, Endpoint, StatsdHost, duration, nearest};

#[test]
fn durations_are_decimal() {
    let plain = [("0", 0), ("30", 30_000_000_000), ("0.1", 100_000_000), ("1.000000001", 1_000_000_001)];
    for (text, nanos) in plain {
        assert_eq!(duration::parse_seconds(text), Some(Duration::from_nanos(nanos)), "{text}");
        assert_eq!(duration::show(Duration::from_nanos(nanos)), text);
    }
    let units = [("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("0.25 m", 15_000)];
    for (text, millis) in units {
        assert_eq!(duration::parse_with_unit(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", ".5", "1.", "-1", "+1", "1e3", "nan", "1_000", "0.0000000001", "1s", "99999999999999999999"] {
        assert_eq!(duration::parse_seconds(text), None, "{text}");
    }
    for text in ["", "s", "5", "5 parsecs", "5d", "0.0000001ms"] {
        assert_eq!(duration::parse_with_unit(text), None, "{text}");
    }
    assert_eq!(duration::parse_with_unit("999999999999999999h"), None);
}

#[test]
fn forms_of_bind() {
    let forms = [
        ("localhost", "http://localhost:8000"),
        ("Example.COM:80", "http://example.com:80"),
        ("10.0.0.1:0", "http://10.0.0.1:0"),
        (":9000", "http://0.0.0.0:9000"),
        ("[::1]", "http://[::1]:8000"),
        ("[0:0::1]:443", "http://[::1]:443"),
        ("[fe80::1%eth0]:1", "http://[fe80::1%eth0]:1"),
        ("tcp://0.0.0.0:80", "http://0.0.0.0:80"),
        ("tcp://[::]:80", "http://[::]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("unix:///run/a.sock", "unix:/run/a.sock"),
        ("unix:a.sock", "unix:a.sock"),
        ("fd://3", "fd://3"),
    ];
    for (text, shown) in forms {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), shown);
        assert_eq!(Address::parse(&address.to_setting()), Ok(address));
    }
}

#[test]
fn no_forms_of_bind() {
    let long = format!("unix:/{}", "x".repeat(107));
    let bad = [
        "",
        "8000",
        "::1",
        "a:b:c",
        "[::1",
        "[::1]80",
        "[1.2.3.4]:80",
        "[::1%]:80",
        "a:",
        "a:+1",
        "a:65536",
        "256.0.0.1:80",
        "10.1:80",
        "-a:1",
        "a b:1",
        "ä:1",
        "a/b:1",
        "http://a:1",
        "unix:",
        "unix://",
        "unix:/a\0b",
        "fd://2",
        "fd://",
        "fd://-1",
        "fd://a",
        &long,
    ];
    for text in bad {
        assert!(Address::parse(text).is_err(), "{text}");
    }
    assert!(Address::parse(&long[..long.len() - 1]).is_ok());
}

#[test]
fn forms_of_statsd_host() {
    let forms = [
        ("localhost", "localhost:8125"),
        ("[::1]:9", "[::1]:9"),
        ("unix:///run/s", "unix:/run/s"),
        ("unix:s", "unix:s"),
    ];
    for (text, shown) in forms {
        let host = StatsdHost::parse(text).unwrap();
        assert_eq!(host.to_string(), shown);
        assert_eq!(StatsdHost::parse(shown), Ok(host));
    }
    for text in [":8125", "a:0", "a:x", "unix:", "tcp://a:1"] {
        assert!(StatsdHost::parse(text).is_err(), "{text}");
    }
}

#[test]
fn near_names_are_near() {
    let known = ["hello", "workers", "bind"];
    assert_eq!(nearest("helo", known), Some("hello"));
    assert_eq!(nearest("WORKRES", known), Some("workers"));
    assert_eq!(nearest("x", known), None);
    assert_eq!(nearest("colour", known), None);
    assert_eq!(nearest("x", ["y"]), None);
}

#[test]
fn forms_of_an_endpoint() {
    let forms = [
        ("http://localhost:4318", "http://localhost:4318"),
        ("HTTPS://telemetry.googleapis.com/", "https://telemetry.googleapis.com"),
        ("http://[::1]:4318/base//", "http://[::1]:4318/base"),
        ("http://a_b/v1/traces", "http://a_b/v1/traces"),
    ];
    for (text, shown) in forms {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.to_string(), shown);
        assert_eq!(Endpoint::parse(shown), Some(endpoint));
    }
    let base = Endpoint::parse("http://a:1/b").unwrap();
    assert_eq!(base.join("/v1/traces").to_string(), "http://a:1/b/v1/traces");
    assert_eq!((base.port_or_default(), Endpoint::parse("https://a").unwrap().port_or_default()), (1, 443));
    let bad = ["", "localhost:4318", "ftp://a", "http://", "http://:1", "http://a:x", "http://a:65536", "http://u@a"];
    for text in
        bad.into_iter().chain(["http://[a]", "http://[::1", "http://a/?q", "http://a/ b", "http://a b", "http://a:"])
    {
        assert_eq!(Endpoint::parse(text), None, "{text}");
    }
}

#[test]
fn forms_of_syslog_addr() {
    let read = |text: &str| Rule::<syslog::Address>::parse(&SyslogServer, &Input::Text(text.to_owned()));
    let forms = [
        ("udp://localhost:514", "udp://localhost:514"),
        ("udp://", "udp://localhost:514"),
        ("tcp://Logs.example.com", "tcp://logs.example.com:514"),
        ("tcp://[::1]:601", "tcp://[::1]:601"),
        ("unix:///dev/log", "unix:///dev/log"),
        ("unix:///dev/log#dgram", "unix:///dev/log#dgram"),
        ("unix://log#stream", "unix://log#stream"),
    ];
    for (text, shown) in forms {
        let address = read(text).unwrap();
        assert_eq!(address.to_string(), shown);
        assert_eq!((read(shown), shown.parse()), (Ok(address.clone()), Ok(address)));
    }
    for text in [
        "",
        "localhost",
        "localhost:514",
        "http://a:1",
        "udp://a:0",
        "udp://a:x",
        "unix://",
        "unix:///a#x",
        "unix:///a b",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn forms_of_errorlog() {
    let read = |text: &str| Rule::<Option<PathBuf>>::parse(&LogFile, &Input::Untyped(text.to_owned()));
    assert_eq!(
        (read("-"), read("a.log"), read("/var/log/a b")),
        (Ok(None), Ok(Some("a.log".into())), Ok(Some("/var/log/a b".into())))
    );
    assert!(read("").is_err() && read("a\nb").is_err());
}
