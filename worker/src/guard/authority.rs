//! Hosts, with or without a port (RFC 3986, 3.2; RFC 9110, 4.2).

use std::net::Ipv6Addr;

use super::bytes::{HOST, run};
use super::wide;

/// Whether `bytes` is a host with or without a port. No user in front of it, and no percent signs, which nobody means well
/// in a host.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let Some(after) = host_end(bytes) else { return false };
    match bytes.get(after) {
        None => after > 0,
        Some(b':') => after > 0 && is_port(&bytes[after + 1..], true),
        Some(_) => false,
    }
}

/// Whether what `bytes` ends with, from `from` on, is one as most are: a name or an IPv4 address, and perhaps a port. It may be one if not.
#[inline]
pub(super) fn is_usual(bytes: &[u8], from: usize) -> bool {
    let Some(after) = wide::end(bytes, from, wide::words) else { return false };
    after > from && (after == bytes.len() || (bytes[after] == b':' && is_port(&bytes[after + 1..], true)))
}

/// Whether `bytes` is a host and a port, as the target of CONNECT.
pub(super) fn is_host_and_port(bytes: &[u8]) -> bool {
    host_end(bytes)
        .is_some_and(|after| after > 0 && bytes.get(after) == Some(&b':') && is_port(&bytes[after + 1..], false))
}

/// Where the host ends that `bytes` begins with.
fn host_end(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'[') {
        return Some(run(bytes, HOST));
    }
    let end = bytes.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(&bytes[1..end]).ok()?;
    address.parse::<Ipv6Addr>().is_ok().then_some(end + 1)
}

/// The port may be empty behind its colon, says RFC 3986.
#[inline]
fn is_port(digits: &[u8], or_empty: bool) -> bool {
    if digits.is_empty() {
        return or_empty;
    }
    let mut port: u32 = 0;
    for digit in digits.iter().map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            return false;
        }
        port = port.wrapping_mul(10).wrapping_add(digit.into());
    }
    digits.len() <= 5 && port <= u32::from(u16::MAX)
}
