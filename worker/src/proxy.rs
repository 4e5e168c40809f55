//! The PROXY protocol, versions 1 and 2: a load balancer says in front of everything else who the client is.
//!
//! The header is optional, as in gunicorn: health checks come without. Pure; bounded; what is not understood is refused, never
//! passed on as if it were HTTP. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustcorn_config::ProxyProtocol;

const V1: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included.
const V1_LONGEST: usize = 107;
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED: usize = 16;
/// Longest rest of a version 2 header: addresses have at most 216 bytes, the remainder is for extensions.
const V2_LONGEST: usize = 4096;

/// What a connection begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// Too few bytes to tell.
    Part,
    /// Something else.
    Other,
    /// A header, of so many bytes, and who the client is if it says so.
    Header(usize, Option<SocketAddr>),
    /// The beginning of a header, and then something that is none.
    Malformed,
}

/// Looks at the first bytes of a connection.
pub(crate) fn read(bytes: &[u8], versions: ProxyProtocol) -> Begin {
    let (v1, v2) = match versions {
        ProxyProtocol::Off => (false, false),
        ProxyProtocol::V1 => (true, false),
        ProxyProtocol::V2 => (false, true),
        ProxyProtocol::Auto => (true, true),
    };
    if v1 && begins(bytes, V1) {
        return if bytes.len() < V1.len() { Begin::Part } else { version_1(bytes) };
    }
    if v2 && begins(bytes, V2) {
        return if bytes.len() < V2_FIXED { Begin::Part } else { version_2(bytes) };
    }
    Begin::Other
}

/// Whether `bytes` begins with `what`, as far as there are any.
fn begins(bytes: &[u8], what: &[u8]) -> bool {
    let both = bytes.len().min(what.len());
    bytes[..both] == what[..both]
}

/// `PROXY TCP4 SOURCE DESTINATION PORT PORT` or `PROXY UNKNOWN …`, CRLF.
fn version_1(bytes: &[u8]) -> Begin {
    let line = &bytes[..bytes.len().min(V1_LONGEST)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == V1_LONGEST { Begin::Malformed } else { Begin::Part };
    };
    let text = line[V1.len()..end].strip_suffix(b"\r").and_then(|text| std::str::from_utf8(text).ok());
    let Some(text) = text.filter(|text| !text.contains('\r')) else { return Begin::Malformed };
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Begin::Header(end + 1, None);
    }
    match addresses(text) {
        Some(source) => Begin::Header(end + 1, Some(source)),
        None => Begin::Malformed,
    }
}

fn addresses(text: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = text.split(' ').collect();
    let [family, source, destination, from, to] = fields[..] else { return None };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(Into::into),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(Into::into),
            _ => None,
        }
    };
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    let (source, _, from, _) = (address(source)?, address(destination)?, port(from)?, port(to)?);
    Some(SocketAddr::new(source, from))
}

fn version_2(bytes: &[u8]) -> Begin {
    let (version, command) = (bytes[12] >> 4, bytes[12] & 15);
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version != 2 || command > 1 || length > V2_LONGEST {
        return Begin::Malformed;
    }
    let whole = V2_FIXED + length;
    let Some(rest) = bytes.get(V2_FIXED..whole) else { return Begin::Part };
    if command == 0 {
        return Begin::Header(whole, None); // LOCAL: the load balancer itself, a health check
    }
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let source = match bytes[13] {
        0x00 => return Begin::Header(whole, None), // UNSPEC
        0x11 => rest.first_chunk::<4>().map(|ip| IpAddr::from(*ip)).zip(port(8)).filter(|_| length >= 12),
        0x21 => rest.first_chunk::<16>().map(|ip| IpAddr::from(*ip)).zip(port(32)).filter(|_| length >= 36),
        0x31 if length >= 216 => return Begin::Header(whole, None), // from a unix socket: nothing to tell
        _ => None,
    };
    match source {
        Some((ip, port)) => Begin::Header(whole, Some(SocketAddr::new(ip, port))),
        None => Begin::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: ProxyProtocol = ProxyProtocol::Auto;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    fn header(bytes: &[u8], source: Option<&str>) {
        let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        let whole = Begin::Header(bytes.len(), source.map(|source| source.parse().unwrap()));
        assert_eq!(read(&followed, AUTO), whole, "{bytes:?}");
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], AUTO), Begin::Part, "{cut} of {bytes:?}");
        }
    }

    #[test]
    fn version_1() {
        header(b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", Some("192.0.2.1:56324"));
        header(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", Some("[2001:db8::1]:1"));
        header(b"PROXY UNKNOWN\r\n", None);
        header(b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n", None);
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x01, 0x02, 0, 80];
        header(&v2(0x21, 0x11, &v4), Some("192.0.2.1:258"));
        header(&v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), Some("192.0.2.1:258"));
        let mut v6 = [0; 36];
        (v6[15], v6[33]) = (1, 9);
        header(&v2(0x21, 0x21, &v6), Some("[::1]:9"));
        header(&v2(0x20, 0x00, b""), None);
        header(&v2(0x20, 0x11, &v4), None);
        header(&v2(0x21, 0x00, b"anything"), None);
        header(&v2(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn malformed() {
        let lines: [&[u8]; 14] = [
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
            b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
        ];
        for line in lines {
            assert_eq!(read(line, AUTO), Begin::Malformed, "{}", line.escape_ascii());
        }
        assert_eq!(read(&[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(), AUTO), Begin::Malformed, "too long");
        assert_eq!(read(&[b"PROXY UNKNOWN ", &[b'x'; 92][..]].concat(), AUTO), Begin::Part);
        for (command, family, rest) in [
            (0x11, 0x11, &[0; 12][..]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x12, &[0; 12]),
            (0x21, 0x21, &[0; 35]),
            (0x21, 0x31, &[0; 215]),
            (0x21, 0x41, &[0; 36]),
            (0x21, 0x00, &[0; V2_LONGEST + 1]),
        ] {
            assert_eq!(read(&v2(command, family, rest), AUTO), Begin::Malformed, "{command:x} {family:x}");
        }
    }

    #[test]
    fn what_is_none_or_not_wanted_is_left_alone() {
        for text in [&b"GET / HTTP/1.1\r\n"[..], b"POST / HTTP/1.1\r\n", b"PROXYX", b"\r\nGET", b"PUT", b"\x16\x03"] {
            assert_eq!(read(text, AUTO), Begin::Other, "{}", text.escape_ascii());
        }
        let (one, two) = (&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0, b"")[..]);
        assert_eq!((read(one, ProxyProtocol::V2), read(two, ProxyProtocol::V1)), (Begin::Other, Begin::Other));
        assert_eq!(read(one, ProxyProtocol::Off), Begin::Other);
    }
}
