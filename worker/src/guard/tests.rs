//! Messages, cut at every place; and the same messages, mutated, before guard and hyper.

use rustcorn_config::{HeaderMap, Settings};

use super::*;

fn rules(change: impl FnOnce(&mut Settings)) -> Rules {
    let mut settings = Settings::defaults();
    change(&mut settings);
    Rules::new(&settings)
}

fn rules_of_body(most: u64) -> Rules {
    rules(|settings| settings.max_body_size = most)
}

fn strict() -> Rules {
    rules(|_| {})
}

/// What a guard made of bytes.
#[derive(PartialEq, Eq, Debug)]
struct Verdict {
    passed: Vec<u8>,
    refused: Option<Reason>,
    marks: Marks,
}

/// Feeds `parts` one after the other, as the stream does.
fn feed(guard: &mut Guard, rules: &Rules, parts: &[&[u8]]) -> (Vec<u8>, Option<Refused>) {
    let (mut stash, mut passed) = (Vec::new(), Vec::new());
    for part in parts {
        stash.extend_from_slice(part);
        loop {
            let fed = guard.feed(&mut stash, rules);
            stash.truncate(fed.len);
            passed.extend(stash.drain(..fed.pass));
            if fed.refused.is_some() {
                return (passed, fed.refused);
            }
            if fed.pass == 0 || stash.is_empty() {
                break;
            }
        }
    }
    (passed, None)
}

/// The verdict on `bytes`, which is the same for every cut in two, and for single bytes.
#[track_caller]
fn verdict_of(rules: &Rules, trusted: bool, bytes: &[u8]) -> Verdict {
    let judge = |parts: &[&[u8]]| {
        let mut guard = Guard::new(trusted);
        let (passed, refused) = feed(&mut guard, rules, parts);
        (passed, refused, guard.marks())
    };
    let (passed, refused, marks) = judge(&[bytes]);
    let reason = refused.map(|refused| refused.reason);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let cuts = (0..bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]).chain([single]);
    for parts in cuts {
        let (other, refused, other_marks) = judge(&parts);
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(refused.map(|refused| refused.reason), reason, "cut in {lengths:?}: {}", bytes.escape_ascii());
        match refused {
            // In the whole, a bad body takes its head along.
            Some(refused) if refused.in_body => assert!(other.starts_with(&passed)),
            _ => assert_eq!((&other, other_marks), (&passed, marks), "cut in {lengths:?}: {}", bytes.escape_ascii()),
        }
    }
    Verdict { passed, refused: reason, marks }
}

#[track_caller]
fn passes(rules: &Rules, bytes: &str) {
    let verdict = verdict_of(rules, false, bytes.as_bytes());
    assert_eq!(
        (verdict.refused, verdict.passed.escape_ascii().to_string()),
        (None, bytes.as_bytes().escape_ascii().to_string())
    );
}

#[track_caller]
fn becomes(rules: &Rules, bytes: &str, hypers: &str) {
    let verdict = verdict_of(rules, false, bytes.as_bytes());
    assert_eq!((verdict.refused, &*String::from_utf8_lossy(&verdict.passed)), (None, hypers));
}

#[track_caller]
fn refused(rules: &Rules, bytes: &str, reason: Reason) {
    // What follows a refused message is not looked at.
    let bytes = format!("{bytes}GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let verdict = verdict_of(rules, false, bytes.as_bytes());
    assert_eq!((verdict.refused, verdict.passed.len()), (Some(reason), 0), "{}", bytes.as_bytes().escape_ascii());
}

/// A request with these header lines.
fn with(headers: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
}

/// A chunked request with this body.
fn chunked(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn good_ones_pass_unchanged() {
    let rules = strict();
    for good in [
        with(""),
        with("Accept: */*\r\nX-Empty:\r\nX-Tab:\ta\tb\t\r\nX-Bytes: \u{fc}\r\n"),
        "GET / HTTP/1.0\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n".into(),
        "GET http://a.example:80/x?y=z HTTP/1.1\r\nHost: A.example:80\r\n\r\n".into(),
        "GET /a%20b/\"\u{fc}?q={x:1}|[]^`\u{fc} HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 0005\r\n\r\nhello".into(),
        chunked("5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
        chunked("5;a;b=c; d = \"e\\\"f;\" ;g\r\nhello\r\n0;x\r\nX-Sum: 1\r\nX-More:\t2\r\n\r\n"),
    ] {
        passes(&rules, &good);
        passes(&rules, &format!("{good}{good}{}", with("")));
    }
}

#[test]
fn lines() {
    use Reason as R;
    let rules = strict();
    for (bytes, reason) in [
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", R::BlankLine),
        ("GET / HTTP/1.1\nHost: a\n\n", R::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", R::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\nX", R::BareLf),
        ("GET / HTTP/1.1\rHost: a\r\r", R::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", R::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", R::ControlCharacter),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", R::ControlCharacter),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", R::ControlCharacter),
        ("\x16\x03\x01\x02\0\x01\0", R::ControlCharacter),
    ] {
        refused(&rules, bytes, reason);
    }
}

#[test]
fn request_lines() {
    use Reason as R;
    let rules = strict();
    for (line, reason) in [
        ("GET", R::RequestLine),
        ("GET /", R::RequestLine),
        ("GET  / HTTP/1.1", R::RequestLine),
        ("GET /  HTTP/1.1", R::RequestLine),
        ("GET / x HTTP/1.1", R::RequestLine),
        ("GET / HTTP/1.1 ", R::Version),
        ("GET\t/ HTTP/1.1", R::Method),
        (" GET / HTTP/1.1", R::Method),
        ("G@T / HTTP/1.1", R::Method),
        ("get / HTTP/1.1", R::Method),
        ("GE / HTTP/1.1", R::Method),
        ("G#T / HTTP/1.1", R::Method),
        ("AAAAAAAAAAAAAAAAAAAAA / HTTP/1.1", R::Method),
        ("GET / http/1.1", R::Version),
        ("GET / HTTP/1.10", R::Version),
        ("GET / HTTP/1", R::Version),
        ("GET / HTTP/+1.1", R::Version),
        ("GET / ICY/1.1", R::Version),
        ("GET / HTTP/2.0", R::VersionUnknown),
        ("GET / HTTP/0.9", R::VersionUnknown),
        ("PRI * HTTP/2.0", R::VersionUnknown),
        ("GET * HTTP/1.1", R::Asterisk),
        ("GET foo HTTP/1.1", R::Target),
        ("GET a:80 HTTP/1.1", R::Target),
        ("GET ftp://a/ HTTP/1.1", R::Target),
        ("GET /a<b HTTP/1.1", R::Target),
        ("GET /?a\"b HTTP/1.1", R::Target),
        ("GET /# HTTP/1.1", R::Fragment),
        ("GET /?# HTTP/1.1", R::Fragment),
        ("GET http:/// HTTP/1.1", R::TargetAuthority),
        ("GET http://u@a/ HTTP/1.1", R::TargetAuthority),
        ("GET http://a:x/ HTTP/1.1", R::TargetAuthority),
        ("GET http://a#b HTTP/1.1", R::Fragment),
        ("GET http://b/ HTTP/1.1", R::HostDiffers),
        ("GET http://a:80/ HTTP/1.1", R::HostDiffers),
        ("CONNECT / HTTP/1.1", R::ConnectTarget),
        ("CONNECT a HTTP/1.1", R::ConnectTarget),
        ("CONNECT a: HTTP/1.1", R::ConnectTarget),
        ("CONNECT http://a:80 HTTP/1.1", R::ConnectTarget),
    ] {
        refused(&rules, &format!("{line}\r\nHost: a\r\n\r\n"), reason);
    }
    let bytes = b"GET /\xfc HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(verdict_of(&rules, false, bytes).refused, Some(R::Target), "no UTF-8");
}

#[test]
fn headers() {
    use Reason as R;
    let rules = strict();
    for (headers, reason) in [
        ("X\r\n", R::NoColon),
        (": x\r\n", R::HeaderName),
        ("X Y: z\r\n", R::HeaderName),
        ("X\u{fc}: z\r\n", R::HeaderName),
        ("X(y): z\r\n", R::HeaderName),
        ("X : y\r\n", R::BlankBeforeColon),
        ("X\t: y\r\n", R::BlankBeforeColon),
        ("X: y\r\n z\r\n", R::Folded),
        ("X: y\r\n\tz\r\n", R::Folded),
        ("Host: a\r\n", R::TwoHosts),
        ("Content-Type: a/b\r\nContent-Type: a/b\r\n", R::TwoContentTypes),
        ("Expect: 200-ok\r\n", R::Expectation),
        ("Expect: 100-continue, x\r\n", R::Expectation),
        ("Expect:\r\n", R::Expectation),
    ] {
        refused(&rules, &with(headers), reason);
    }
    refused(&rules, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", R::LeadingBlank);
    refused(&rules, "GET / HTTP/1.1\r\n\r\n", R::NoHost);
    refused(&rules, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", R::TwoHosts);
    for host in
        ["a b", "a/b", "a@b", "a:b", "a:65536", "a:123456", ":80", "[::1", "[::g]", "[::1]x", "::1", "a%41", "a,b c"]
    {
        refused(&rules, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), R::Host);
    }
    for host in ["", "a", "a:", "a:80", "a_b-c.d.", "1.2.3.4:1", "[::1]", "[::1]:65535", "[::ffff:1.2.3.4]"] {
        passes(&rules, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn framing() {
    use Reason as R;
    let rules = strict();
    for (headers, reason) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", R::LengthAndChunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", R::LengthAndChunked),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", R::TwoLengths),
        ("Content-Length: 5, 5\r\n", R::Length),
        ("Content-Length:\r\n", R::Length),
        ("Content-Length: +5\r\n", R::Length),
        ("Content-Length: -5\r\n", R::Length),
        ("Content-Length: 0x5\r\n", R::Length),
        ("Content-Length: 5 5\r\n", R::Length),
        ("Content-Length: 1_0\r\n", R::Length),
        ("Content-Length: 18446744073709551614\r\n", R::Length),
        ("Content-Length: 18446744073709551621\r\n", R::Length),
        ("Content-Length: \u{663}\r\n", R::Length),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", R::TwoTransferEncodings),
        ("Transfer-Encoding: chunked, chunked\r\n", R::TransferEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", R::TransferEncoding),
        ("Transfer-Encoding: chunked,\r\n", R::TransferEncoding),
        ("Transfer-Encoding:\r\n", R::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", R::TransferEncoding),
        ("Transfer-Encoding: chunked;x=y\r\n", R::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", R::UnknownCoding),
        ("Transfer-Encoding: xchunked\r\n", R::UnknownCoding),
        ("Transfer-Encoding: identity\r\n", R::UnknownCoding),
        ("Transfer-Encoding: \x0bchunked\r\n", R::ControlCharacter),
    ] {
        refused(&rules, &with(headers), reason);
    }
    refused(&rules, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", R::ChunkedIn10);
    refused(&rules, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx", R::ConnectBody);
    refused(&rules, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", R::ConnectBody);
}

#[test]
fn chunks() {
    use Reason as R;
    let rules = strict();
    for (body, reason) in [
        ("\r\n", R::ChunkSize),
        ("g\r\n", R::ChunkSize),
        ("0x5\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("+5\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("-5\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("5_\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        (" 5\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("5 \r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("5\t;a\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", R::ChunkSize),
        ("5\nhello\r\n0\r\n\r\n", R::BareLf),
        ("5\rhello\r\n0\r\n\r\n", R::BareCr),
        ("5\r\nhello0\r\n\r\n", R::ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", R::ChunkEnd),
        ("5\r\nhello!\r\n0\r\n\r\n", R::ChunkEnd),
        ("5\r\nhell\r\n0\r\n\r\n", R::ChunkEnd),
        ("5;a=\nb\r\nhello\r\n0\r\n\r\n", R::BareLf),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", R::BareCr),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", R::ControlCharacter),
        ("5;\r\nhello\r\n0\r\n\r\n", R::ChunkExtension),
        ("5;a=\r\nhello\r\n0\r\n\r\n", R::ChunkExtension),
        ("5;a=\"b\r\nhello\r\n0\r\n\r\n", R::ChunkExtension),
        ("5;a b\r\nhello\r\n0\r\n\r\n", R::ChunkExtension),
        ("0\r\n\n", R::BareLf),
        ("0\n\r\n", R::BareLf),
        ("0\r\nX\r\n\r\n", R::TrailerName),
        ("0\r\nX : y\r\n\r\n", R::TrailerName),
        ("0\r\nX: y\r\n z\r\n\r\n", R::TrailerName),
        ("0\r\nX: y\0\r\n\r\n", R::ControlCharacter),
        ("0\r\nContent-Length: 5\r\n\r\n", R::TrailerForbidden),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", R::TrailerForbidden),
        ("0\r\nHost: b\r\n\r\n", R::TrailerForbidden),
        ("0\r\nAuthorization: x\r\n\r\n", R::TrailerForbidden),
        ("0\r\nX-Forwarded-Proto: https\r\n\r\n", R::TrailerForbidden),
    ] {
        refused(&rules, &chunked(body), reason);
    }
    refused(&rules, &chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(1100))), R::ChunkLine);
    refused(&rules, &chunked(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(16))), R::ChunkSize);
    let many = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(9);
    let verdict = verdict_quickly(&rules, chunked(&many).as_bytes());
    assert_eq!(verdict, Some(R::ChunkExtensions));
    let large = format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(verdict_quickly(&rules, chunked(&large).as_bytes()), Some(R::TrailersTooLarge));
    let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(verdict_quickly(&rules, chunked(&many).as_bytes()), Some(R::TrailersTooLarge));
    becomes(&rules, &chunked("0\r\nX_Y: z\r\nX: y\r\n\r\n"), &chunked("0\r\nX: y\r\n\r\n"));
}

/// Where every cut would take too long.
fn verdict_quickly(rules: &Rules, bytes: &[u8]) -> Option<Reason> {
    let judge = |parts: &[&[u8]]| feed(&mut Guard::new(false), rules, parts).1.map(|refused| refused.reason);
    let verdict = judge(&[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    let third: Vec<&[u8]> = bytes.chunks(333).collect();
    assert_eq!((judge(&single), judge(&third)), (verdict, verdict));
    verdict
}

#[test]
fn limits_are_exact() {
    use Reason as R;
    let rules = rules(|settings| {
        settings.limit_request_line = 30;
        settings.limit_request_fields = 3;
        settings.limit_request_field_size = 20;
        settings.max_body_size = 10;
    });
    let line = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 14));
    passes(&rules, &format!("{}\r\nHost: a\r\n\r\n", line(30)));
    refused(&rules, &format!("{}\r\nHost: a\r\n\r\n", line(31)), R::LineTooLong);
    assert_eq!(verdict_quickly(&rules, &[b'A'; 31]), Some(R::LineTooLong), "without its end");
    passes(&rules, &with("A: 456789012345678\r\n"));
    refused(&rules, &with("A: 4567890123456789\r\n"), R::FieldTooLarge);
    passes(&rules, &with("A:\r\nB:\r\n"));
    refused(&rules, &with("A:\r\nB:\r\nC:\r\n"), R::TooManyFields);
    refused(&rules, &with("A_:\r\nB_:\r\nC_:\r\n"), R::TooManyFields);
    passes(&rules, &format!("{}0123456789", with("Content-Length: 10\r\n")));
    refused(&rules, &with("Content-Length: 11\r\n"), R::BodyTooLarge);
    let chunked = |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n{body}");
    refused(&rules, &chunked("1\r\n0\r\n0\r\n\r\n"), R::FieldTooLarge);
    let rules = rules_of_body(10);
    passes(&rules, &chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"));
    refused(&rules, &chunked("5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n"), R::BodyTooLarge);
    refused(&rules, &chunked("ffffffffffffffff\r\n"), R::BodyTooLarge);
}

#[test]
fn the_whole_head_has_a_limit() {
    let rules = rules(|settings| settings.limit_request_head = 8192);
    let head = |length: usize| {
        let begin = "GET / HTTP/1.1\r\nHost: a\r\n";
        let fill =
            "X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n";
        let mut text = begin.to_owned();
        while text.len() + fill.len() + 8 < length {
            text += fill;
        }
        let rest = length - text.len() - "Z: \r\n\r\n".len();
        format!("{text}Z: {}\r\n\r\n", "z".repeat(rest))
    };
    assert_eq!(verdict_quickly(&rules, head(8192).as_bytes()), None);
    assert_eq!(verdict_quickly(&rules, head(8193).as_bytes()), Some(Reason::HeadTooLarge));
}

#[test]
fn what_is_permitted_is_made_fit_for_hyper() {
    let folding = rules(|settings| settings.permit_obsolete_folding = true);
    becomes(&folding, &with("X: a\r\n b\r\n\t c\r\nY: d\r\n"), &with("X: a   b  \t c\r\nY: d\r\n"));
    becomes(&folding, &with("Content-Length:\r\n 0\r\n"), &with("Content-Length:   0\r\n"));
    refused(&folding, &with("Content-Length: 1\r\n 0\r\n"), Reason::Length);
    refused(&folding, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reason::LeadingBlank);
    let spaces = rules(|settings| settings.strip_header_spaces = true);
    becomes(&spaces, &with("X \t: a\r\n"), &with("X:\t  a\r\n"));
    refused(&spaces, &with("X y: a\r\n"), Reason::HeaderName);
    let methods = rules(|settings| settings.permit_unconventional_http_method = true);
    passes(&methods, "x# / HTTP/1.1\r\nHost: a\r\n\r\n");
    let casefold = rules(|settings| settings.casefold_http_method = true);
    becomes(&casefold, "get / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let versions = rules(|settings| settings.permit_unconventional_http_version = true);
    becomes(&versions, "GET / HTTP/3.7\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    becomes(&strict(), "GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn underscores() {
    let headers = "X_A: 1\r\nX-B: 2\r\nSCRIPT_NAME: /x\r\n";
    becomes(&strict(), &with(headers), &with("X-B: 2\r\n"));
    becomes(&strict(), &format!("{}{}", with(headers), with("")), &format!("{}{}", with("X-B: 2\r\n"), with("")));
    refused(&rules(|settings| settings.header_map = HeaderMap::Refuse), &with(headers), Reason::Underscore);
    passes(&rules(|settings| settings.header_map = HeaderMap::Dangerous), &with(headers));
    let trusted = verdict_of(&strict(), true, with(headers).as_bytes());
    assert_eq!(String::from_utf8_lossy(&trusted.passed), with("X-B: 2\r\nSCRIPT_NAME: /x\r\n"));
    let all = rules(|settings| settings.forwarder_headers = vec!["*".into()]);
    assert_eq!(verdict_of(&all, true, with(headers).as_bytes()).passed, with(headers).as_bytes());
}

#[test]
fn schemes_are_believed_from_those_who_are() {
    let rules = strict();
    let marks = |trusted, headers: &str| verdict_of(&rules, trusted, with(headers).as_bytes()).marks;
    let https = |https| Marks { https, forwarded_for: false };
    assert_eq!(marks(true, "X-Forwarded-Proto: https\r\n"), https(Some(true)));
    assert_eq!(marks(true, "X-Forwarded-Proto: HTTPS\r\n"), https(Some(false)), "compared exactly");
    assert_eq!(marks(true, "x-forwarded-ssl: on\r\nX-FORWARDED-PROTO:https\r\n"), https(Some(true)));
    assert_eq!(marks(false, "X-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\n"), Marks::default());
    assert_eq!(marks(true, "X-Forwarded-For: 1.2.3.4\r\n"), Marks { https: None, forwarded_for: true });
    assert_eq!(marks(true, ""), Marks::default());
    let conflict = with("X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n");
    assert_eq!(verdict_of(&rules, true, conflict.as_bytes()).refused, Some(Reason::SchemeConflict));
    assert_eq!(verdict_of(&rules, false, conflict.as_bytes()).refused, None);
}

#[test]
fn a_bad_body_takes_its_head_along_where_both_are_here() {
    let rules = strict();
    let bytes = chunked("5\r\nhello\r\nx\r\n");
    let (passed, refused) = feed(&mut Guard::new(false), &rules, &[bytes.as_bytes()]);
    assert_eq!((passed.len(), refused), (0, Some(Refused { reason: Reason::ChunkSize, in_body: false })));
    let (head, body) = bytes.as_bytes().split_at(bytes.len() - 4);
    let (passed, refused) = feed(&mut Guard::new(false), &rules, &[head, body]);
    assert_eq!(passed, &bytes.as_bytes()[..bytes.len() - 3]);
    assert_eq!(refused, Some(Refused { reason: Reason::ChunkSize, in_body: true }));
}

#[test]
fn one_head_at_a_time() {
    let (rules, one) = (strict(), with(""));
    let mut bytes = one.repeat(3).into_bytes();
    let mut guard = Guard::new(false);
    assert_eq!(guard.feed(&mut bytes, &rules), Fed { len: 3 * one.len(), pass: one.len(), refused: None });
    assert_eq!(guard.feed(&mut bytes[one.len()..], &rules).pass, one.len());
}

#[test]
fn after_a_request_to_upgrade_the_answer_decides() {
    let rules = strict();
    for (first, rest) in [
        (with("Connection: upgrade\r\nUpgrade: websocket\r\n"), "\0not HTTP"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), "\0not HTTP"),
    ] {
        for upgraded in [true, false] {
            let mut bytes = format!("{first}{rest}").into_bytes();
            let mut guard = Guard::new(false);
            let fed = guard.feed(&mut bytes, &rules);
            assert_eq!((fed.pass, fed.refused, guard.asked()), (first.len(), None, true));
            guard.decided(upgraded);
            let fed = guard.feed(&mut bytes[first.len()..], &rules);
            assert_eq!((fed.pass > 0, fed.refused.is_some()), (upgraded, !upgraded));
        }
    }
    let mut old = b"GET / HTTP/1.0\r\nUpgrade: x\r\n\r\n".to_vec();
    let mut guard = Guard::new(false);
    guard.feed(&mut old, &rules);
    assert!(!guard.asked(), "HTTP/1.0 has no upgrades");
}

#[test]
fn the_docs_have_every_reason() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http.md")).unwrap();
    for reason in Reason::ALL {
        let row = format!("| {} | {} | {} |", reason.status().as_u16(), reason.text(), reason.rule());
        assert!(page.contains(&row), "docs/http.md has no line {row}");
    }
}
