//! Hosts, with or without a port (RFC 3986, 3.2; RFC 9110, 4.2).

use std::net::Ipv6Addr;

use super::bytes::{HOST, run};

/// Whether `bytes` is a host with or without a port. No user in front of it, and no percent signs, which nobody means well
/// in a host.
#[inline]
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let Some(after) = host_end(bytes) else { return false };
    match bytes.get(after) {
        None => after > 0,
        Some(b':') => after > 0 && is_port(&bytes[after + 1..], true),
        Some(_) => false,
    }
}

/// Whether `bytes` is a host and a port, as the target of CONNECT.
pub(super) fn is_host_and_port(bytes: &[u8]) -> bool {
    host_end(bytes)
        .is_some_and(|after| after > 0 && bytes.get(after) == Some(&b':') && is_port(&bytes[after + 1..], false))
}

/// Where the host ends that `bytes` begins with.
#[inline]
fn host_end(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'[') {
        return Some(run(bytes, HOST));
    }
    let end = bytes.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(&bytes[1..end]).ok()?;
    address.parse::<Ipv6Addr>().is_ok().then_some(end + 1)
}

/// The port may be empty behind its colon, says RFC 3986.
fn is_port(digits: &[u8], or_empty: bool) -> bool {
    if digits.is_empty() {
        return or_empty;
    }
    let value = |sum: u32, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'));
    digits.len() <= 5 && digits.iter().try_fold(0, value).is_some_and(|port| port <= u32::from(u16::MAX))
}
